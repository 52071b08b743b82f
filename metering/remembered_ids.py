"""Remembered event ids: an event that is sent again is one call (rule 2).

Ids are kept as 64-bit digests of app and id: among 10 million remembered ids, a new one is taken for a
duplicate less than once in 10^12. For lookup, a batch at a time, they are in a few sorted segments, each at
least twice as large as the next, with 24 bytes per id; for storage, in chunks in the order of their arrival.
Segments and the removal of forgotten ids do not influence results: every sighting has its number and time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

CHUNK_IDS: Final = 512

_STORED: Final = np.dtype([("digest", "<u8"), ("seen_at_ms", "<u8")])


@dataclass(slots=True)
class Sightings:
    """Ids seen for the first time, in the order of their arrival.

    Attributes:
        digests: of the ids.
        seen_at_ms: for each, the time on its app's clock.
    """

    digests: list[int] = field(default_factory=list)
    seen_at_ms: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.digests)

    def encoded(self) -> bytes:
        """The stored form: pairs of little-endian 64-bit digest and milliseconds."""
        pairs = np.empty(len(self.digests), _STORED)
        pairs["digest"] = self.digests
        pairs["seen_at_ms"] = self.seen_at_ms
        return pairs.tobytes()


class Sighting(NamedTuple):
    """The newest sighting of an id: its number, and its time on the app's clock."""

    number: int
    seen_at_ms: int


class Segment(NamedTuple):
    """Sightings for lookup as columns, ascending by digest, each digest once."""

    digests: NDArray[np.uint64]
    numbers: NDArray[np.uint64]
    seen_at_ms: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.digests)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segment) and all(map(np.array_equal, self, other))

    def __hash__(self) -> int:
        return hash(self.numbers.tobytes())


def digest_of(appid: str, event_id: str) -> int:
    """The 64-bit digest of an event id of an app."""
    return xxh3_64_intdigest(f"{appid}\0{event_id}".encode())


class RememberedIds(Struct, frozen=True):
    """The remembered sightings, as a value.

    Attributes:
        segments: oldest first; later ones take precedence.
        first_chunk: number of the oldest remembered chunk.
        newest_ms: the newest time of each full chunk from `first_chunk` on.
        tail: the newest chunk, which is not full, in its stored form.
        horizon_ms: the newest time of the forgotten sightings; 0 if none was forgotten.
    """

    segments: tuple[Segment, ...] = ()
    first_chunk: int = 0
    newest_ms: tuple[int, ...] = ()
    tail: bytes = b""
    horizon_ms: int = 0

    @property
    def tail_chunk(self) -> int:
        """The number of the chunk that begins with `tail`."""
        return self.first_chunk + len(self.newest_ms)

    @property
    def next_number(self) -> int:
        """The number of the next sighting: of all that there have been."""
        return self.tail_chunk * CHUNK_IDS + len(self.tail) // _STORED.itemsize

    def newest_sightings(self, digests: Sequence[int]) -> dict[int, Sighting]:
        """The remembered ones of these ids, each with its newest sighting."""
        return self._found(np.sort(np.array(digests, np.uint64)))

    def suspects(self, digests: Sequence[int]) -> dict[int, Sighting | None]:
        """The possible duplicates in a batch's ids: remembered ones, and those that occur more than once."""
        ascending = np.sort(np.array(digests, np.uint64))
        again = ascending[1:][ascending[1:] == ascending[:-1]].tolist()
        return {**dict.fromkeys(again), **self._found(ascending)}

    def with_sightings(self, sightings: bytes) -> "RememberedIds":
        """The ids with more sightings, given in their stored form in the order of their arrival."""
        if not sightings:
            return self
        chunks = _cut(memoryview(self.tail + sightings))
        return RememberedIds(
            self._merged(_segment(sightings, self.next_number)),
            self.first_chunk,
            self.newest_ms + tuple(map(_newest_ms, chunks[:-1])),
            bytes(chunks[-1]),
            self.horizon_ms,
        )

    def without_chunks_before(self, first_chunk: int, horizon_ms: int) -> "RememberedIds":
        """The ids without the chunks before `first_chunk`, and with the horizon that this makes."""
        gone = first_chunk - self.first_chunk
        if gone == 0:
            return self
        return RememberedIds(self.segments, first_chunk, self.newest_ms[gone:], self.tail, horizon_ms)

    def _found(self, ascending: NDArray[np.uint64]) -> dict[int, Sighting]:
        found: dict[int, Sighting] = {}
        for segment in self.segments:
            at = np.searchsorted(segment.digests, ascending)
            hits = at[segment.digests.take(at, mode="clip") == ascending]
            for digest, number, seen_at_ms in zip(
                *(column[hits].tolist() for column in segment), strict=True
            ):
                found[digest] = Sighting(number, seen_at_ms)
        return found

    def _merged(self, newest: Segment) -> tuple[Segment, ...]:
        segments = list(self.segments)
        while segments and len(segments[-1]) <= 2 * len(newest):
            newest = _merge(segments.pop(), newest, self.first_chunk * CHUNK_IDS)
        return (*segments, newest)


def _segment(stored: bytes, first_number: int) -> Segment:
    pairs = np.frombuffer(stored, _STORED)
    numbers = np.arange(first_number, first_number + len(pairs), dtype=np.uint64)
    return _sorted(Segment(pairs["digest"], numbers, pairs["seen_at_ms"]))


def _merge(older: Segment, newer: Segment, forgotten_below: int) -> Segment:
    kept = older.numbers >= forgotten_below
    return _sorted(
        Segment(*(np.concatenate((old[kept], new)) for old, new in zip(older, newer, strict=True)))
    )


def _sorted(sightings: Segment) -> Segment:
    """Sort by digest; of equal ones the later stays. Fast, because the input consists of sorted runs."""
    order = np.argsort(sightings.digests, kind="stable")
    ascending = sightings.digests[order]
    order = order[np.append(ascending[1:] != ascending[:-1], True)]
    return Segment(*(column[order] for column in sightings))


def _cut(stored: memoryview) -> list[memoryview]:
    """Cut into full chunks and a last one that is not full, without a copy."""
    size = CHUNK_IDS * _STORED.itemsize
    return [stored[at : at + size] for at in range(0, len(stored) + 1, size)]


def times_ms(stored: bytes) -> list[int]:
    """The times of sightings in their stored form."""
    times: list[int] = np.frombuffer(stored, _STORED)["seen_at_ms"].tolist()
    return times


def _newest_ms(chunk: memoryview) -> int:
    return int(np.frombuffer(chunk, _STORED)["seen_at_ms"].max())


def chunks_since(before: RememberedIds, after: RememberedIds, sightings: bytes) -> dict[int, bytes]:
    """The stored chunks, by number, that `sightings` changed from `before` to `after`."""
    if not sightings:
        return {}
    numbered = enumerate(_cut(memoryview(before.tail + sightings)), before.tail_chunk)
    return {number: bytes(chunk) for number, chunk in numbered if chunk and number >= after.first_chunk}


def restore(first_chunk: int, horizon_ms: int, chunks: Iterable[bytes]) -> RememberedIds:
    """Restore the ids from stored chunks, given in the order of their numbers from `first_chunk` on."""
    return RememberedIds(first_chunk=first_chunk, horizon_ms=horizon_ms).with_sightings(b"".join(chunks))
