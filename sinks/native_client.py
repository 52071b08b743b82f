"""A clickhouse-driver client that sends a block of packed columns (`sinks.native_columns`) as it is.

The driver encodes each value separately, which costs more than everything else that the sink does with an
entry. Written against clickhouse-driver 0.2.11 (pinned): `NativeClient` has all uses of its internals, and
`tests/sinks/test_native_client.py` reads back from the engine what was written.
"""

import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

from clickhouse_driver import Client, defines
from clickhouse_driver.block import BlockInfo, ColumnOrientedBlock
from clickhouse_driver.errors import TypeMismatchError
from clickhouse_driver.protocol import ClientPacketTypes
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_str, write_binary_uint8

from sinks.native_columns import LowCardinalityColumn, StringColumn

_NUMBERS: Final = {"UInt32": "I", "UInt64": "q", "Int64": "q", "DateTime64(3, 'UTC')": "q"}
"""Type code of `array` for each numeric type of the table; offsets stay below 2^63."""

_DICTIONARY_VERSION: Final = 1
_OWN_KEYS: Final = 1 << 9
_NEW_DICTIONARY: Final = 1 << 10
"""Flags of a LowCardinality column: its dictionary comes with it, and replaces the one before."""

_CODE_TYPES: Final = {1: 0, 2: 1, 4: 2}
"""Number of a LowCardinality column's code type, by its size in bytes."""


class NativeClient(Client):  # type: ignore[misc]  # clickhouse-driver ships no types
    """A client whose columnar INSERTs send packed columns, in one block."""

    def send_data(
        self,
        sample_block: Any,  # noqa: ANN401 - the driver's
        data: Sequence[Sequence[Any]],
        types_check: bool = False,  # noqa: FBT001, FBT002 - the driver's signature
        columnar: bool = False,  # noqa: FBT001, FBT002 - the driver's signature
    ) -> int:
        """Send `data` as one block. Overrides the driver's method, which expects lists of values.

        Raises:
            TypeMismatchError: a column of the table has another type than was packed.
        """
        if not columnar:
            return int(super().send_data(sample_block, data, types_check=types_check, columnar=columnar))
        packed = [
            packed_as(name, type_, column)
            for (name, type_), column in zip(sample_block.columns_with_types, data, strict=True)
        ]
        count = len(data[0])
        self._send_block(sample_block.columns_with_types, packed, count)
        self.receive_profile_events()
        self.connection.send_data(ColumnOrientedBlock())
        self.receive_profile_events()
        return count

    def _send_block(self, named: Sequence[tuple[str, str]], packed: Sequence[bytes], count: int) -> None:
        connection = self.connection
        stream, revision = connection.block_out, connection.server_info.used_revision
        write_varint(ClientPacketTypes.DATA, connection.fout)
        write_binary_str("", connection.fout)
        BlockInfo().write(stream.fout)
        write_varint(len(packed), stream.fout)
        write_varint(count, stream.fout)
        for (name, type_), column in zip(named, packed, strict=True):
            write_binary_str(name, stream.fout)
            write_binary_str(type_, stream.fout)
            if revision >= defines.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION:
                write_binary_uint8(0, stream.fout)
            stream.fout.write(column)
        stream.finalize()


def packed_as(name: str, type_: str, column: Sequence[Any]) -> bytes:
    """Return a column as the bytes of a type of ClickHouse; `name` is for the error.

    Raises:
        TypeMismatchError: the column was packed for another type, or the type is not supported.
    """
    match column:
        case array() if _NUMBERS.get(type_) == column.typecode:
            return _little_endian(column)
        case StringColumn() if type_ == "String":
            return column.packed
        case LowCardinalityColumn() if type_ == "LowCardinality(String)":
            return _dictionary(column)
    raise TypeMismatchError(f"column {name} of the table is {type_}, which is not what it was packed as")


def _dictionary(column: LowCardinalityColumn) -> bytes:
    codes = array("B", column.codes) if isinstance(column.codes, bytes) else column.codes
    flags = _OWN_KEYS | _NEW_DICTIONARY | _CODE_TYPES[codes.itemsize]
    return b"".join(
        (
            _number(_DICTIONARY_VERSION),
            _number(flags),
            _number(len(column.values)),
            StringColumn.of(column.values).packed,
            _number(len(codes)),
            _little_endian(codes),
        )
    )


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _little_endian(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
