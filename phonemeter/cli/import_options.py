"""Options of `phonemeter import`."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import typer

from phonemeter.cli.option_groups import option_names
from phonemeter.cli.rule_options import time_option
from phonemeter.errors import UserError
from phonemeter.history.csv_table import DELIMITERS, ENCODINGS
from phonemeter.history.fields import NAMES
from phonemeter.history.mapping import ColumnMapping, MappingFile, parse_pair, read_mapping_file
from phonemeter.history.moments import Moments, parse_zone
from phonemeter.history.opening import ReadOptions
from phonemeter.history.staging import NEVER_MS, Period
from phonemeter.history.tables import Format

SHOWN_DEFAULT: Final = 20
TAB_NAMES: Final = frozenset({"tab", r"\t"})


@dataclass(frozen=True)
class FileOptions:
    """The form of the files."""

    form: Annotated[
        Format | None,
        typer.Option("--format", help="Format of the files.", show_default="by their content"),
    ] = None
    encoding: Annotated[
        Literal["utf-8", "gb18030", "big5"],
        typer.Option(help="Encoding of CSV files; Excel in Chinese writes gb18030."),
    ] = "utf-8"
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="CHAR",
            help="Delimiter of CSV files: comma, semicolon, bar, or tab (the word).",
            show_default="by the header",
        ),
    ] = None

    def read(self) -> ReadOptions:
        """The options of reading.

        Raises:
            UserError: there is no such delimiter.
        """
        delimiter = "\t" if self.delimiter in TAB_NAMES else self.delimiter
        if delimiter is not None and delimiter not in DELIMITERS:
            raise UserError(f"--delimiter: {delimiter[:20]!r} is none; write , or ; or | or tab.")
        return ReadOptions(self.form, self.encoding if self.encoding in ENCODINGS else "utf-8", delimiter)


@dataclass(frozen=True)
class MappingOptions:
    """The meaning of columns."""

    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A TOML file with columns, set, values, zone and time_format."),
    ] = None
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="FIELD=COLUMN",
            help=f"Read a field from this column; from none if COLUMN is empty. Fields: {', '.join(NAMES)}.",
            show_default=False,
        ),
    ] = None
    constants: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of all lines that do not have it, such as type=succeeded or capability=quick.",
            show_default=False,
        ),
    ] = None
    zone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Zone of times without one: Asia/Shanghai, UTC or +08:00."),
    ] = None
    time_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORM",
            help="Form of times, as of strptime.",
            show_default="ISO 8601, a spreadsheet's, or a number since 1970",
        ),
    ] = None

    def read(self) -> tuple[ColumnMapping, Moments]:
        """The mapping, options before the file, and the reading of times.

        Raises:
            UserError: the file or an option is wrong.
        """
        found = MappingFile() if self.mapping is None else read_mapping_file(self.mapping)
        columns = dict(parse_pair("--column", text) for text in self.columns or [])
        constants = dict(parse_pair("--set", text) for text in self.constants or [])
        mapping = ColumnMapping.of(
            {**found.columns, **columns},
            {**{name: str(value) for name, value in found.set.items()}, **constants},
            found.values,
        )
        zone = self.zone or found.zone
        return mapping, Moments(
            None if zone is None else parse_zone(zone), self.time_format or found.time_format
        )


@dataclass(frozen=True)
class RunOptions:
    """The extent of an import, and its report."""

    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Only facts from this time on, as an import that stopped prints it."
        ),
    ] = None
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only facts before this time, as where live events begin."),
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False
    without_ledger: Annotated[
        bool,
        typer.Option(
            "--without-ledger",
            help="Do not ask ClickHouse what was counted already: what is older than the worker remembers is "
            "then held.",
        ),
    ] = False
    refused: Annotated[
        Path | None,
        typer.Option(help="Write every refused line here: file, number, reason and sentence."),
    ] = None
    show: Annotated[int, typer.Option(min=0, help="How many refused lines to show at most.")] = SHOWN_DEFAULT
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False

    def period(self) -> Period:
        """The period that is imported.

        Raises:
            UserError: a time is none, or it is empty.
        """
        since_ms = 0 if self.since is None else time_option("--since", self.since)
        until_ms = NEVER_MS if self.until is None else time_option("--until", self.until)
        if since_ms >= until_ms:
            raise UserError(f"--until {self.until} is not after --since {self.since}.")
        return Period(since_ms, until_ms)


def command_again(files: list[str], *groups: FileOptions | MappingOptions | RunOptions, since: str) -> str:
    """The command that continues from a time, with the same options otherwise."""
    words = ["phonemeter", "import", *files]
    for group in groups:
        names = option_names(type(group))
        for one in fields(group):
            value = cast("Any", getattr(group, one.name))
            if one.name == "since" or value == one.default:
                continue
            if value is True:
                words.append(names[one.name])
            else:
                for each in value if isinstance(value, list) else [value]:
                    words += [names[one.name], str(each)]
    return shlex.join([*words, "--since", since])
