"""A JSON Lines file: flat objects, objects with inner ones, or events as they are."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from metering.duplicate_keys import duplicate_key
from metering.events import VALUE_BYTES_MAX
from metering.rejections import Rejection
from phonemeter.event_file import EventFile
from phonemeter.history.mapping import COLUMNS_MAX, ColumnMapping, Selection
from phonemeter.history.tables import Line, TableDescription

SELECTIONS_MAX: Final = 500
"""Sets of names whose columns are kept, as lines usually have the same few."""


class JsonTable:
    """A JSON Lines file, each line of which names its columns; `inner.name` is one within another."""

    def __init__(self, file: EventFile, mapping: ColumnMapping) -> None:
        self._file = file
        self._mapping = mapping
        # Decimal: a price that was written as 7.5 is exactly that.
        self._decoder = msgspec.json.Decoder(float_hook=Decimal)
        self._selections: dict[tuple[str, ...], Selection] = {}
        self.description = TableDescription(file.name, "jsonl")

    @property
    def progress(self) -> float:
        """The share of the file that was read."""
        return self._file.stored.tell() / (self._file.size_bytes or 1)

    def lines(self) -> Iterator[Line]:
        """The lines that are not blank."""
        for line in self._file.lines():
            yield Line(line.number, self._content(line.value))

    def _content(self, value: bytes | None) -> dict[str, object] | bytes | Rejection:
        if value is None:
            return Rejection("too_large", f"The line has more than the {VALUE_BYTES_MAX} bytes allowed.")
        found = self._object(value)
        if isinstance(found, Rejection):
            return found
        return value if "specversion" in found else self._chosen(_flat(found))

    def _object(self, value: bytes) -> dict[str, object] | Rejection:
        try:
            found: Any = self._decoder.decode(value)
            twice = duplicate_key(value)
        except UnicodeDecodeError:
            return Rejection("not_utf8", "The line is not UTF-8; write it in UTF-8.")
        except (msgspec.DecodeError, RecursionError) as error:
            return Rejection("not_json", f"The line is no JSON: {error}.")
        if twice is not None:
            return Rejection("doubled_key", f"The name {twice[:60]!r} occurs twice.")
        if not isinstance(found, dict):
            return Rejection("not_json", "The line is no JSON object; write one object on each line.")
        return found

    def _chosen(self, found: dict[str, object]) -> dict[str, object] | Rejection:
        if len(found) > COLUMNS_MAX:
            return Rejection("invalid_field", f"The line has more than the {COLUMNS_MAX:,} names allowed.")
        names = tuple(found)
        selection = self._selections.get(names)
        if selection is None:
            selection = self._mapping.select(names)
            self.description.add(selection)
            if len(self._selections) < SELECTIONS_MAX:
                self._selections[names] = selection
        return {
            name: found[column]
            for name, column in selection.columns.items()
            if found[column] is not None and found[column] != ""
        }


def _flat(found: dict[str, object]) -> dict[str, object]:
    """The values of an object and of those within it, whose names have both in them."""
    flat: dict[str, object] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": one for inner, one in value.items()})
        else:
            flat[name] = value
    return flat
