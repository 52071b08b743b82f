"""Files opened by their content: Parquet, JSON Lines or CSV, the last two also compressed by gzip."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from phonemeter.errors import UserError
from phonemeter.event_file import open_event_file
from phonemeter.history.csv_table import CsvTable
from phonemeter.history.json_table import JsonTable
from phonemeter.history.mapping import ColumnMapping
from phonemeter.history.tables import Format, HistoryTable
from producers.jsonl import UTF8_BOM

PARQUET_MAGIC: Final = b"PAR1"
HEAD_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The options of reading; a format of None is found out."""

    form: Format | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None


def open_table(name: str, mapping: ColumnMapping, options: ReadOptions, held: ExitStack) -> HistoryTable:
    """Open a file for the lifetime of `held`.

    Raises:
        UserError: it can't be read, or is of no known format.
    """
    with ExitStack() as first_look:
        head = first_look.enter_context(open_event_file(name)).read(HEAD_BYTES)
    form = options.form or _format_of(name, head)
    if form == "parquet":
        from phonemeter.history.parquet_table import ParquetTable  # noqa: PLC0415 - half a second, 100 MB

        return ParquetTable(name, mapping)
    file = held.enter_context(open_event_file(name))
    if form == "jsonl":
        return JsonTable(file, mapping)
    return CsvTable(file, mapping, encoding=options.encoding, delimiter=options.delimiter)


def _format_of(name: str, head: bytes) -> Format:
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    text = head.removeprefix(UTF8_BOM).lstrip()
    if text.startswith(b"["):
        raise UserError(
            f"{name} is one JSON array; write one object on each line instead (jq -c '.[]' does that)."
        )
    if not text:
        raise UserError(f"{name} is empty.")
    return "jsonl" if text.startswith(b"{") else "csv"
