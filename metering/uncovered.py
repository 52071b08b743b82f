"""Uncovered calls, remembered so that a pack recorded late can take them over (DESIGN rule 7).

They are kept in chunks of a fixed number, so that remembering one more call rewrites one small piece of the
durable state and not an app's whole history.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from metering.packs import Pack

CHUNK_CALLS: Final = 256
CALLS_MAX: Final = 100_096
"""Remembered per app and capability at most (a whole number of chunks); beyond it the oldest are forgotten,
which only means that no late pack can take them over any more: they stay in the ledger as uncovered."""


class UncoveredCall(Struct, frozen=True, array_like=True, gc=False):
    """One call that nothing covered, with what its ledger line said; sorts by time, then by arrival."""

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
    """The remembered calls of one app and capability, oldest first.

    Attributes:
        first: number of the oldest chunk kept.
        chunks: all but the newest are full.
    """

    first: int = 0
    chunks: tuple[Chunk, ...] = ()

    def remembering(self, call: UncoveredCall) -> "UncoveredCalls":
        """With one more call."""
        if not self.chunks or len(self.chunks[-1]) >= CHUNK_CALLS:
            kept = self.chunks[-(CALLS_MAX // CHUNK_CALLS - 1) :]
            return UncoveredCalls(self.first + len(self.chunks) - len(kept), (*kept, (call,)))
        return UncoveredCalls(self.first, (*self.chunks[:-1], (*self.chunks[-1], call)))

    def covered_by(self, pack: Pack, most: int) -> list[UncoveredCall]:
        """The calls that fall into a pack's validity, earliest first, at most as many as asked for."""
        inside = [call for chunk in self.chunks for call in chunk if pack.covers(call.time_ms)]
        return sorted(inside, key=lambda call: (call.time_ms, call.offset))[:most]

    def without(self, taken: Iterable[UncoveredCall]) -> "UncoveredCalls":
        """With the calls that a pack has taken over left out."""
        gone = {call.offset for call in taken}
        kept = [call for chunk in self.chunks for call in chunk if call.offset not in gone]
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
