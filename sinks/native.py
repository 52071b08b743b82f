"""clickhouse-driver, extended: a block of packed columns (`sinks.columns`) is sent as it is.

The driver asks each value of each column for its bytes, which costs more than everything else that the sink
does with a line. Written against clickhouse-driver 0.2.11 (pinned): what of its inside is used here is in
`NativeClient`, and `tests/sinks/test_native.py` reads back from the engine what was written.
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

from sinks.columns import Texts, Words

_NUMBERS: Final = {"UInt32": "I", "UInt64": "q", "Int64": "q", "DateTime64(3, 'UTC')": "q"}
"""The types of the table that hold numbers, as `array` names what they look like; offsets stay below 2^63."""

_DICTIONARY_VERSION: Final = 1
_OWN_KEYS: Final = 1 << 9
_NEW_DICTIONARY: Final = 1 << 10
"""Flags of a LowCardinality column: its different values come with it, and replace those before."""

_CODE_TYPES: Final = {1: 0, 2: 1, 4: 2}
"""How a LowCardinality column calls codes of so many bytes."""


class NativeClient(Client):  # type: ignore[misc]  # clickhouse-driver ships no types
    """A client whose columnar INSERTs send packed columns, in one block."""

    def send_data(
        self,
        sample_block: Any,  # noqa: ANN401 - the driver's
        data: Sequence[Sequence[Any]],
        types_check: bool = False,  # noqa: FBT001, FBT002 - the driver's signature
        columnar: bool = False,  # noqa: FBT001, FBT002 - the driver's signature
    ) -> int:
        """Send all of `data` as one block, as the driver's own method would with lists of values.

        Raises:
            TypeMismatchError: the table has a column of another type than was packed.
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
    """The bytes of a column of a type of ClickHouse; `name` is for the error.

    Raises:
        TypeMismatchError: it was packed for another type, or this version does not know the type.
    """
    match column:
        case array() if _NUMBERS.get(type_) == column.typecode:
            return _little_endian(column)
        case Texts() if type_ == "String":
            return column.packed
        case Words() if type_ == "LowCardinality(String)":
            return _dictionary(column)
    raise TypeMismatchError(f"column {name} of the table is {type_}, which is not what it was packed as")


def _dictionary(words: Words) -> bytes:
    codes = array("B", words.codes) if isinstance(words.codes, bytes) else words.codes
    flags = _OWN_KEYS | _NEW_DICTIONARY | _CODE_TYPES[codes.itemsize]
    return b"".join(
        (
            _number(_DICTIONARY_VERSION),
            _number(flags),
            _number(len(words.values)),
            Texts.of(words.values).packed,
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
