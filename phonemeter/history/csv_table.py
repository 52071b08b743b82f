"""A CSV file, line by line: a broken line is refused and stops nothing."""

import csv
from collections.abc import Iterator, Sequence
from typing import Final

from metering.rejections import Rejection
from phonemeter.errors import UserError
from phonemeter.event_file import EventFile, read_errors
from phonemeter.history.mapping import COLUMNS_MAX, ColumnMapping, Selection
from phonemeter.history.tables import ABSENT_TEXTS, Line, TableDescription
from producers.jsonl import UTF8_BOM

LINE_BYTES_MAX: Final = 1_048_576
CELL_CHARS_MAX: Final = 65_536
ENCODINGS: Final = ("utf-8", "gb18030", "big5")
DELIMITERS: Final = (",", "\t", ";", "|")
UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


class CsvTable:
    """A CSV file with a header.

    Args:
        delimiter: None for the one that the header has most of.
    """

    def __init__(
        self,
        file: EventFile,
        mapping: ColumnMapping,
        *,
        encoding: str = "utf-8",
        delimiter: str | None = None,
    ) -> None:
        self._file = file
        self._encoding = encoding
        self._line_number = 0
        self._too_long = False
        csv.field_size_limit(CELL_CHARS_MAX)
        header = self._header_line()
        self._reader = csv.reader(
            self._texts(header), delimiter=delimiter or max(DELIMITERS, key=header.count), strict=True
        )
        self._header = self._read_header()
        self.selection: Selection = mapping.select(self._header)
        self._places = [(name, self._header.index(column)) for name, column in self.selection.columns.items()]
        self.description = TableDescription(file.name, "csv")
        self.description.add(self.selection)

    @property
    def progress(self) -> float:
        """The share of the file that was read."""
        return self._file.stored.tell() / (self._file.size_bytes or 1)

    def lines(self) -> Iterator[Line]:
        """The lines after the header."""
        with read_errors(self._file.name):
            while True:
                first = self._line_number + 1
                try:
                    cells = next(self._reader, None)
                except csv.Error as error:
                    yield Line(first, self._broken(first, str(error)))
                    continue
                if cells is None:
                    return
                if cells:
                    yield Line(first, self._content(cells))

    def _content(self, cells: Sequence[str]) -> dict[str, object] | Rejection:
        if self._too_long:
            self._too_long = False
            return Rejection("too_large", f"The line has more than {LINE_BYTES_MAX:,} bytes.")
        if len(cells) != len(self._header):
            return Rejection(
                "invalid_field",
                f"The line has {len(cells)} cells and the header {len(self._header)}; quote what contains "
                "the delimiter, or name the delimiter (--delimiter).",
            )
        found: dict[str, object] = {}
        for name, place in self._places:
            text = cells[place].strip()
            if text in ABSENT_TEXTS:
                continue
            if not text.isprintable() and _is_undecodable(text):
                return Rejection("not_utf8", f"{self._header[place]}: {self._not_decodable()}")
            found[name] = text
        return found

    def _broken(self, first: int, error: str) -> Rejection:
        last = self._line_number
        where = f"; lines {first} to {last} were taken for one" if last > first else ""
        return Rejection(
            "invalid_field", f"The line is no CSV ({error}{where}): a quotation mark may be missing."
        )

    def _not_decodable(self) -> str:
        other = "gb18030" if self._encoding == "utf-8" else "utf-8"
        return f"the text is not {self._encoding}; if another program wrote the file, try --encoding {other}."

    def _header_line(self) -> str:
        with read_errors(self._file.name):
            data = self._file.read_line(LINE_BYTES_MAX)
        if data.startswith(UTF16_BOMS):
            raise UserError(f"{self._file.name} is in UTF-16; save it as CSV in UTF-8.")
        text = self._decoded(data.removeprefix(UTF8_BOM))
        if _is_undecodable(text):
            raise UserError(f"{self._file.name}, line 1: {self._not_decodable()}")
        return text

    def _read_header(self) -> list[str]:
        try:
            names = [name.strip() for name in next(self._reader, [])]
        except csv.Error as error:
            raise UserError(f"{self._file.name}, line 1, is no header of a CSV file: {error}.") from None
        while names and not names[-1]:
            names.pop()
        if not names:
            raise UserError(f"{self._file.name} has no header; its first line names the columns.")
        if len(names) > COLUMNS_MAX:
            raise UserError(f"{self._file.name} has more than the {COLUMNS_MAX:,} columns allowed.")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{self._file.name} has two columns {twice[:60]!r}; rename one.")
        return names

    def _texts(self, header: str) -> Iterator[str]:
        self._line_number = 1
        yield header
        while data := self._file.read_line(LINE_BYTES_MAX):
            self._line_number += 1
            if len(data) == LINE_BYTES_MAX and not data.endswith(b"\n"):
                self._too_long = True
                while data and not data.endswith(b"\n"):
                    data = self._file.read_line(LINE_BYTES_MAX)
                data = b"x"
            yield self._decoded(data)

    def _decoded(self, data: bytes) -> str:
        return data.decode(self._encoding, "surrogateescape")


def _is_undecodable(text: str) -> bool:
    return any("\udc80" <= one <= "\udcff" for one in text)
