"""The mapping of columns to fields: by options, by a TOML file, and by the names of columns."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta, Struct

from metering.forbidden_fields import is_forbidden_field
from metering.personal_identifiers import find_identifier
from phonemeter.errors import UserError
from phonemeter.history.fields import NAMES, VALUES, plain

MAPPING_BYTES_MAX: Final = 100_000
COLUMNS_MAX: Final = 1_000
"""Limit of columns of a file."""

_Text = Annotated[str, Meta(max_length=200)]


class MappingFile(Struct, forbid_unknown_fields=True):
    """A mapping as a TOML file holds it.

    Attributes:
        columns: the column of a field; empty for none.
        set: what holds for lines that do not have a field.
        values: by field, the meaning of the words of its column.
        zone, time_format: of the times.
    """

    columns: dict[str, _Text] = {}
    set: dict[str, str | int] = {}
    values: dict[str, dict[str, str]] = {}
    zone: str | None = None
    time_format: str | None = None


def read_mapping_file(path: Path) -> MappingFile:
    """Read a mapping file.

    Raises:
        UserError: it can't be read, or is none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAPPING_BYTES_MAX + 1)
        if len(text) > MAPPING_BYTES_MAX:
            raise UserError(f"{path} has more than {MAPPING_BYTES_MAX:,} bytes; it is no mapping of columns.")
        found = tomllib.loads(text.decode())
        return msgspec.convert(found, MappingFile)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from None
    except msgspec.ValidationError as error:
        raise UserError(
            f"{path} is no mapping: {error}. It has the tables columns, set and values, zone and time_format."
        ) from None


@dataclass(frozen=True, slots=True)
class Selection:
    """The columns of a file that are read.

    Attributes:
        columns: by field.
        unread: the others.
        personal: those of them whose name says that they hold a person's number or openid.
    """

    columns: Mapping[str, str]
    unread: tuple[str, ...]
    personal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The mapping of columns to fields, and what holds where a line has no such field.

    Attributes:
        given: the column of a field, where one is given; empty for none.
        constants: by field, what holds for lines that do not have it.
        words: by field, the meaning of the words of its column.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: VALUES)

    @classmethod
    def of(
        cls, columns: Mapping[str, str], constants: Mapping[str, str], words: Mapping[str, Mapping[str, str]]
    ) -> Self:
        """The mapping of what was given.

        Raises:
            UserError: a field is not known, or a column may not be read.
        """
        for name in (*columns, *constants, *words):
            if name not in NAMES:
                raise UserError(f"{name[:60]!r} is no field; fields are: {', '.join(NAMES)}.")
        for name, column in columns.items():
            if is_forbidden_field(column):
                raise UserError(
                    f"The column {column!r} is not read for {name}: by its name it holds a phone number, an "
                    "openid or a secret. Write a column with a keyed hash of the user, and name that one."
                )
        meanings = {
            name: {**VALUES.get(name, {}), **_meanings(name, words.get(name, {}))}
            for name in (*VALUES, *words)
        }
        return cls(columns, constants, meanings)

    def select(self, names: Sequence[str]) -> Selection:
        """The columns that are read, of those that a file has."""
        readable = {name: _kind(name) for name in names}
        chosen: dict[str, str] = {}
        for name, aliases in NAMES.items():
            if name in self.given:
                if self.given[name] in readable:
                    chosen[name] = self.given[name]
                continue
            known = {plain(column.removeprefix("data.")): column for column in names if not readable[column]}
            found = next((known[alias] for alias in _aliases(name, aliases) if alias in known), None)
            if found is not None and found not in self.given.values():
                chosen[name] = found
        unread = tuple(name for name in names if name not in chosen.values())
        return Selection(chosen, unread, tuple(name for name in unread if readable[name]))


def parse_pair(option: str, text: str) -> tuple[str, str]:
    """Parse `FIELD=VALUE`.

    Raises:
        UserError: it is not of this form.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{option} {text[:60]!r} has no equals sign; write it like {option} store=shop_no.")
    return name.strip(), value.strip()


def _meanings(name: str, words: Mapping[str, str]) -> dict[str, str]:
    """The meanings of words, in the words of events.

    Raises:
        UserError: one has none.
    """
    known = VALUES.get(name)
    if known is None:
        return dict(words)
    for word, meaning in words.items():
        if meaning not in known:
            raise UserError(
                f"values.{name}: {word[:40]!r} cannot mean {meaning[:40]!r}; it can mean: {', '.join(known)}."
            )
    return {word: known[meaning] for word, meaning in words.items()}


def _aliases(name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    return (plain(name), *aliases)


def _kind(name: str) -> bool:
    """Return whether a column must not be read, by its name."""
    return is_forbidden_field(name) or find_identifier(name) is not None
