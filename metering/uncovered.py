"""Uncovered calls, remembered so that a pack that is recorded late can take them over (rule 7).

They are kept in chunks of a fixed number of calls, so that one more call rewrites one chunk of the durable
state and not the whole history of an app.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from metering.packs import Pack

CHUNK_CALLS: Final = 256
CALLS_MAX: Final = 100_096
"""Limit of remembered calls per app and capability, a whole number of chunks. The oldest beyond it are
forgotten: they stay uncovered in the ledger, and no late pack can take them over."""


class UncoveredCall(Struct, frozen=True, array_like=True, gc=False):
    """An uncovered call with the fields of its ledger entry; sorts by time, then by arrival."""

    time_ms: int
    offset: int
    event_id: str
    scene: str
    store: str
    env: str
    client: str
    source: str


Chunk = tuple[UncoveredCall, ...]


class UncoveredCalls(Struct, frozen=True):
    """The remembered calls of one app and capability, oldest first, from chunk number `first` on.

    All chunks but the newest are full.
    """

    first: int = 0
    chunks: tuple[Chunk, ...] = ()

    def with_call(self, call: UncoveredCall) -> "UncoveredCalls":
        """The calls with one more."""
        if not self.chunks or len(self.chunks[-1]) >= CHUNK_CALLS:
            kept = self.chunks[-(CALLS_MAX // CHUNK_CALLS - 1) :]
            return UncoveredCalls(self.first + len(self.chunks) - len(kept), (*kept, (call,)))
        return UncoveredCalls(self.first, (*self.chunks[:-1], (*self.chunks[-1], call)))

    def all(self) -> Iterator[UncoveredCall]:
        """All of them, in the order of their arrival."""
        return (call for chunk in self.chunks for call in chunk)

    def covered_by(self, pack: Pack, calls_max: int) -> list[UncoveredCall]:
        """The calls within a pack's validity, earliest first, at most `calls_max`."""
        inside = [call for call in self.all() if pack.covers(call.time_ms)]
        return sorted(inside, key=lambda call: (call.time_ms, call.offset))[:calls_max]

    def without(self, taken: Iterable[UncoveredCall]) -> "UncoveredCalls":
        """The calls without those that a pack has taken over."""
        gone = {call.offset for call in taken}
        kept = [call for call in self.all() if call.offset not in gone]
        return UncoveredCalls(
            self.first,
            tuple(tuple(kept[at : at + CHUNK_CALLS]) for at in range(0, len(kept), CHUNK_CALLS)),
        )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Chunk)


def encode_chunk(chunk: Chunk) -> bytes:
    """The stored form of a chunk."""
    return _encoder.encode(chunk)


def decode_chunk(stored: bytes) -> Chunk:
    """Read a chunk back."""
    return _decoder.decode(stored)
