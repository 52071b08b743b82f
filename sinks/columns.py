"""Columns of ledger lines, kept as the bytes that ClickHouse's native format has for them. Pure.

A line has a dozen texts, most of which repeat. As objects of Python they would cost most of the sink's time
and memory, so a column is packed once, right after its record was read, while its values are still in the
processor's cache; putting pieces together and sending them is then copying bytes.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, TypeAlias, overload

_SMALL: Final = 128
"""Lengths below it are one byte in the native format."""

_EMPTY: Final = chr(0)
_CODES_MAX: Final = 256


class Texts(Sequence[str]):
    """Texts that rarely repeat, such as ids: each behind its length."""

    __slots__ = ("_count", "packed")

    def __init__(self, packed: bytes, count: int) -> None:
        self.packed = packed
        self._count = count

    @classmethod
    def of(cls, values: Sequence[str]) -> "Texts":
        """Pack texts."""
        return cls(_packed(values), len(values))

    @classmethod
    def joined(cls, pieces: Iterable["Texts"]) -> "Texts":
        """Several columns, one after the other."""
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
    def __getitem__(self, at: slice) -> "Texts": ...
    def __getitem__(self, at: int | slice) -> "str | Texts":
        values = list(self)
        return Texts.of(values[at]) if isinstance(at, slice) else values[at]


class Words(Sequence[str]):
    """Texts of which few are different: these once, and for each line the number of its own.

    Attributes:
        values: the different texts.
        codes: for each line the place of its text among them; bytes as long as these suffice.
    """

    __slots__ = ("codes", "values")

    def __init__(self, values: Sequence[str], codes: "bytes | array[int]") -> None:
        self.values = values
        self.codes = codes

    @classmethod
    def of(cls, values: Iterable[str]) -> "Words":
        """Number the different texts in the order in which they come."""
        places: defaultdict[str, int] = defaultdict()
        places.default_factory = places.__len__
        codes = list(map(places.__getitem__, values))
        return cls(tuple(places), _narrowed(codes, len(places)))

    @classmethod
    def joined(cls, pieces: Iterable["Words"]) -> "Words":
        """Several columns, one after the other, with one numbering."""
        found = tuple(pieces)
        places = {
            value: place for place, value in enumerate(dict.fromkeys(chain(*(p.values for p in found))))
        }
        if len(places) <= _CODES_MAX:
            return cls(tuple(places), b"".join([_renumbered(piece, places) for piece in found]))
        codes = array("I")
        for piece in found:
            table = [places[value] for value in piece.values]
            codes.extend(map(table.__getitem__, piece.codes))
        return cls(tuple(places), _narrowed(codes, len(places)))

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return map(self.values.__getitem__, self.codes)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "Words": ...
    def __getitem__(self, at: int | slice) -> "str | Words":
        if isinstance(at, slice):
            return Words(self.values, self.codes[at])
        return self.values[self.codes[at]]


Column: TypeAlias = "array[int] | Texts | Words"
"""A column of numbers (64 bits each, or 32 of a line's number), or of texts."""


def joined(pieces: Sequence[Column]) -> Column:
    """Several columns of one kind, one after the other. Not to be asked of none."""
    first, *others = pieces
    if not others:
        return first
    if isinstance(first, Texts):
        return Texts.joined(piece for piece in pieces if isinstance(piece, Texts))
    if isinstance(first, Words):
        return Words.joined(piece for piece in pieces if isinstance(piece, Words))
    numbers = first[:]
    for piece in others:
        numbers.extend(piece)  # type: ignore[arg-type]  # of one kind, as the docstring says
    return numbers


def _packed(values: Sequence[str]) -> bytes:
    """Each text behind its length; texts of one length, with empty ones among them or without, go faster."""
    longest, *others = sorted(set(map(len, values)), reverse=True) or (0,)
    if values and longest < _SMALL and others in ([], [0]):
        prefix = chr(longest)
        if others:
            text = "".join([prefix + value if value else _EMPTY for value in values])
        else:
            text = prefix + prefix.join(values)
        if text.isascii():
            return text.encode()
    return b"".join([_behind_its_length(value) if value else b"\0" for value in values])


def _behind_its_length(value: str) -> bytes:
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def varint(number: int) -> bytes:
    """A length in the native format: seven bits a byte, the lowest first."""
    found = bytearray()
    while number >= _SMALL:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _narrowed(codes: Iterable[int], different: int) -> "bytes | array[int]":
    """The codes in as few bytes as the number of different texts allows."""
    if different <= _CODES_MAX:
        return bytes(codes)
    return array("H" if different <= _CODES_MAX**2 else "I", codes)


def _renumbered(piece: Words, places: dict[str, int]) -> bytes:
    table = bytes(places[value] for value in piece.values)
    if isinstance(piece.codes, bytes):
        return piece.codes.translate(table.ljust(_CODES_MAX, b"\0"))
    return bytes(map(table.__getitem__, piece.codes))
