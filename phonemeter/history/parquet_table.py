"""A Parquet file: only the columns that are mapped are read, a few thousand rows at a time."""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from phonemeter.errors import UserError
from phonemeter.history.mapping import COLUMNS_MAX, ColumnMapping, Selection
from phonemeter.history.tables import Line, TableDescription

BATCH_ROWS: Final = 4_096
BUFFER_BYTES: Final = 1_048_576
TIME_UNIT: Final = "ms"

FAILURES: Final = (pa.ArrowException, OSError, ValueError)


class ParquetTable:
    """A Parquet file; `inner.name` is a column within another."""

    def __init__(self, name: str, mapping: ColumnMapping) -> None:
        self._name = name
        try:
            # Without pre-buffering, a row group is read by pages instead of as a whole.
            self._file = pq.ParquetFile(name, buffer_size=BUFFER_BYTES, pre_buffer=False)
        except FAILURES as error:
            raise self._unreadable(error) from None
        names = _columns_of(self._file.schema_arrow)
        if len(names) > COLUMNS_MAX:
            raise UserError(f"{name} has more than the {COLUMNS_MAX:,} columns allowed.")
        self.selection: Selection = mapping.select(names)
        self._rows = self._file.metadata.num_rows
        self._row = 0
        self.description = TableDescription(name, "parquet")
        self.description.add(self.selection)

    @property
    def progress(self) -> float:
        """The share of the rows that was read."""
        return self._row / (self._rows or 1)

    def lines(self) -> Iterator[Line]:
        """The rows."""
        columns = self.selection.columns
        batches = self._file.iter_batches(BATCH_ROWS, columns=list(columns.values()), use_threads=False)
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                values = [_values(batch, column) for column in columns.values()]
            except FAILURES as error:
                raise self._unreadable(error) from None
            for row in zip(*values, strict=True) if values else [()] * batch.num_rows:
                self._row += 1
                found = {name: value for name, value in zip(columns, row, strict=True) if value is not None}
                yield Line(self._row, found)

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(f"{self._name} can't be read as Parquet: {str(error).partition(chr(10))[0][:200]}")


def _columns_of(schema: Any) -> list[str]:  # noqa: ANN401 - pyarrow ships no types
    names: list[str] = []
    for column in schema:
        if pa.types.is_struct(column.type):
            names.extend(f"{column.name}.{inner.name}" for inner in column.type)
        else:
            names.append(column.name)
    return names


def _values(batch: Any, column: str) -> list[Any]:  # noqa: ANN401 - pyarrow ships no types
    outer, _, inner = column.partition(".")
    found = batch.column(batch.schema.names.index(column if column in batch.schema.names else outer))
    if inner and pa.types.is_struct(found.type):
        found = found.flatten()[found.type.get_field_index(inner)]
    if pa.types.is_timestamp(found.type) and found.type.unit != TIME_UNIT:
        # Python has no nanoseconds.
        found = found.cast(pa.timestamp(TIME_UNIT, found.type.tz), safe=False)
    values: list[Any] = found.to_pylist()
    return values
