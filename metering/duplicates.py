"""Remembered event ids: a retried event is one call, within a window (DESIGN rule 2).

Ids are kept as 64-bit digests of app and id: among 10 million remembered ids a new event meets a false
duplicate less than once in 10^12. For looking up they lie in a few dicts, each at least twice as large as
the next; for storing, in chunks in the order of their arrival. Which dict an id lies in, and when forgotten
ids are swept out of it, never decides anything: every sighting carries its number and its time.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from msgspec import Struct

CHUNK_IDS: Final = 512


class Sighting(NamedTuple):
    """An id's digest, and the time on its app's clock at which it was first seen."""

    digest: int
    seen_at_ms: int


Chunk = tuple[Sighting, ...]

_TIME_BITS: Final = 48
_TIME_MASK: Final = (1 << _TIME_BITS) - 1


def digest_of(appid: str, event_id: str) -> int:
    """The 64-bit digest of an event id of an app."""
    return int.from_bytes(blake2b(f"{appid}\0{event_id}".encode(), digest_size=8).digest(), "little")


class RememberedIds(Struct, frozen=True):
    """The remembered sightings, as a value.

    Attributes:
        segments: digest to (number << 48 | time), for looking up; oldest first, later ones win.
        first_chunk: number of the oldest chunk still remembered.
        newest_ms: per full chunk from `first_chunk` on, the newest time in it.
        tail: the newest chunk, not full yet.
    """

    segments: tuple[Mapping[int, int], ...] = ()
    first_chunk: int = 0
    newest_ms: tuple[int, ...] = ()
    tail: Chunk = ()

    @property
    def tail_chunk(self) -> int:
        """The number of the chunk that `tail` is the beginning of."""
        return self.first_chunk + len(self.newest_ms)

    @property
    def next_number(self) -> int:
        """How many sightings there have been: the number of the next."""
        return self.tail_chunk * CHUNK_IDS + len(self.tail)

    def sighting(self, digest: int) -> tuple[int, int] | None:
        """The number and the time of an id's newest sighting; None if it is not remembered."""
        for segment in reversed(self.segments):
            stamp = segment.get(digest)
            if stamp is not None:
                return stamp >> _TIME_BITS, stamp & _TIME_MASK
        return None

    def remembering(self, sightings: Sequence[Sighting]) -> "RememberedIds":
        """With more sightings, in the order of their arrival."""
        if not sightings:
            return self
        first = self.next_number
        stamps = {
            digest: first + at << _TIME_BITS | seen_at_ms for at, (digest, seen_at_ms) in enumerate(sightings)
        }
        chunks = _cut((*self.tail, *sightings))
        return RememberedIds(
            self._merged(stamps),
            self.first_chunk,
            self.newest_ms + tuple(max(seen.seen_at_ms for seen in chunk) for chunk in chunks[:-1]),
            chunks[-1],
        )

    def forgetting(self, before_ms: int, ids_max: int) -> "RememberedIds":
        """Without the chunks in which all is older than `before_ms`, or beyond the newest `ids_max`."""
        gone = max(0, len(self.newest_ms) - 1 - ids_max // CHUNK_IDS)
        while gone < len(self.newest_ms) and self.newest_ms[gone] < before_ms:
            gone += 1
        if gone == 0:
            return self
        return RememberedIds(self.segments, self.first_chunk + gone, self.newest_ms[gone:], self.tail)

    def _merged(self, stamps: Mapping[int, int]) -> tuple[Mapping[int, int], ...]:
        segments: list[Mapping[int, int]] = list(self.segments)
        last = dict(stamps)
        forgotten_below = self.first_chunk * CHUNK_IDS << _TIME_BITS
        while segments and len(segments[-1]) <= 2 * len(last):
            last = {
                digest: stamp for digest, stamp in segments.pop().items() if stamp >= forgotten_below
            } | last
        return (*segments, last)


def _cut(sightings: Chunk) -> list[Chunk]:
    """Cut into full chunks and a last one that is not full."""
    full = len(sightings) - len(sightings) % CHUNK_IDS
    chunks = [sightings[at : at + CHUNK_IDS] for at in range(0, full, CHUNK_IDS)]
    return [*chunks, sightings[full:]]


def chunks_since(
    before: RememberedIds, after: RememberedIds, sightings: Sequence[Sighting]
) -> dict[int, Chunk]:
    """The chunks, by number, that changed when `sightings` were added to `before` and gave `after`."""
    if not sightings:
        return {}
    chunks = _cut((*before.tail, *sightings))
    numbered = dict(enumerate(chunks, before.tail_chunk))
    return {number: chunk for number, chunk in numbered.items() if chunk and number >= after.first_chunk}


def encode_chunk(chunk: Chunk) -> bytes:
    """The stored form of a chunk: pairs of little-endian 64-bit digest and milliseconds."""
    flat = [number for sighting in chunk for number in sighting]
    return struct.pack(f"<{len(flat)}Q", *flat)


def decode_chunk(stored: bytes) -> Chunk:
    """Read a chunk back."""
    flat = struct.unpack(f"<{len(stored) // 8}Q", stored)
    return tuple(map(Sighting, flat[::2], flat[1::2]))


def restore(first_chunk: int, chunks: Iterable[Chunk]) -> RememberedIds:
    """The ids of stored chunks, given in the order of their numbers from `first_chunk` on."""
    sightings = [sighting for chunk in chunks for sighting in chunk]
    return RememberedIds(first_chunk=first_chunk).remembering(sightings)
