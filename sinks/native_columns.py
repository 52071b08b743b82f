"""Columns of ledger entries, packed as the bytes of ClickHouse's native format. Pure.

An entry has a dozen strings, most of which repeat. As Python objects they would take most of the sink's time
and memory. So a column is packed once, right after its record was decoded; concatenating and sending it then
copies bytes.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, TypeAlias, overload

_SMALL: Final = 128
"""Lengths below this are one byte in the native format."""

_EMPTY: Final = chr(0)
_CODES_MAX: Final = 256


class StringColumn(Sequence[str]):
    """Strings that rarely repeat, such as ids, each after its length: ClickHouse's `String`."""

    __slots__ = ("_count", "packed")

    def __init__(self, packed: bytes, count: int) -> None:
        self.packed = packed
        self._count = count

    @classmethod
    def of(cls, values: Sequence[str]) -> "StringColumn":
        """Pack strings."""
        return cls(_packed(values), len(values))

    @classmethod
    def concatenate(cls, pieces: Iterable["StringColumn"]) -> "StringColumn":
        """Concatenate columns."""
        found = tuple(pieces)
        return cls(b"".join([piece.packed for piece in found]), sum(map(len, found)))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        packed, at = self.packed, 0
        while at < len(packed):
            length = shift = 0
            while True:
                byte = packed[at]
                at += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < _SMALL:
                    break
            yield packed[at : at + length].decode()
            at += length

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "StringColumn": ...
    def __getitem__(self, at: int | slice) -> "str | StringColumn":
        values = list(self)
        return StringColumn.of(values[at]) if isinstance(at, slice) else values[at]


class LowCardinalityColumn(Sequence[str]):
    """Strings of which few are distinct: a dictionary of these, and a code for each entry.

    Attributes:
        values: the distinct strings.
        codes: for each entry the index of its string; bytes as long as these suffice.
    """

    __slots__ = ("codes", "values")

    def __init__(self, values: Sequence[str], codes: "bytes | array[int]") -> None:
        self.values = values
        self.codes = codes

    @classmethod
    def of(cls, values: Iterable[str]) -> "LowCardinalityColumn":
        """Number the distinct strings in the order of their first occurrence."""
        places: defaultdict[str, int] = defaultdict()
        places.default_factory = places.__len__
        codes = list(map(places.__getitem__, values))
        return cls(tuple(places), _narrow(codes, len(places)))

    @classmethod
    def concatenate(cls, pieces: Iterable["LowCardinalityColumn"]) -> "LowCardinalityColumn":
        """Concatenate columns, with one dictionary."""
        found = tuple(pieces)
        places = {
            value: place for place, value in enumerate(dict.fromkeys(chain(*(p.values for p in found))))
        }
        if len(places) <= _CODES_MAX:
            return cls(tuple(places), b"".join([_renumber(piece, places) for piece in found]))
        codes = array("I")
        for piece in found:
            table = [places[value] for value in piece.values]
            codes.extend(map(table.__getitem__, piece.codes))
        return cls(tuple(places), _narrow(codes, len(places)))

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return map(self.values.__getitem__, self.codes)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "LowCardinalityColumn": ...
    def __getitem__(self, at: int | slice) -> "str | LowCardinalityColumn":
        if isinstance(at, slice):
            return LowCardinalityColumn(self.values, self.codes[at])
        return self.values[self.codes[at]]


Column: TypeAlias = "array[int] | StringColumn | LowCardinalityColumn"
"""A column of numbers (64 bits each; `line` has 32), or of strings."""


def concatenate_columns(pieces: Sequence[Column]) -> Column:
    """Concatenate columns of one kind, of which there must be one."""
    first, *others = pieces
    if not others:
        return first
    if isinstance(first, StringColumn):
        return StringColumn.concatenate(piece for piece in pieces if isinstance(piece, StringColumn))
    if isinstance(first, LowCardinalityColumn):
        return LowCardinalityColumn.concatenate(
            piece for piece in pieces if isinstance(piece, LowCardinalityColumn)
        )
    numbers = first[:]
    for piece in others:
        numbers.extend(piece)  # type: ignore[arg-type]  # of one kind, as the docstring says
    return numbers


def _packed(values: Sequence[str]) -> bytes:
    """Pack strings, each after its length. Strings of one length, or empty, take a faster way."""
    longest, *others = sorted(set(map(len, values)), reverse=True) or (0,)
    if values and longest < _SMALL and others in ([], [0]):
        prefix = chr(longest)
        if others:
            text = "".join([prefix + value if value else _EMPTY for value in values])
        else:
            text = prefix + prefix.join(values)
        if text.isascii():
            return text.encode()
    return b"".join([_after_its_length(value) if value else b"\0" for value in values])


def _after_its_length(value: str) -> bytes:
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def varint(number: int) -> bytes:
    """Encode a length for the native format: seven bits a byte, the lowest first."""
    found = bytearray()
    while number >= _SMALL:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _narrow(codes: Iterable[int], distinct: int) -> "bytes | array[int]":
    """Store codes in as few bytes as the number of distinct strings allows."""
    if distinct <= _CODES_MAX:
        return bytes(codes)
    return array("H" if distinct <= _CODES_MAX**2 else "I", codes)


def _renumber(piece: LowCardinalityColumn, places: dict[str, int]) -> bytes:
    table = bytes(places[value] for value in piece.values)
    if isinstance(piece.codes, bytes):
        return piece.codes.translate(table.ljust(_CODES_MAX, b"\0"))
    return bytes(map(table.__getitem__, piece.codes))
