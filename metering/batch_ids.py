"""The remembered ids and the horizon as of each event of a batch (rule 2).

Ids are forgotten in chunks, oldest first: as soon as enough newer ones are remembered, and at a clock tick
once all of a chunk are older than the window. Both depend on the log alone, not on its cut into batches.

The horizon is the newest time at which a forgotten id was seen. An id that was seen at time c of its app's
clock belongs to an event of time t <= c: an event that is ahead of the clock moves it to its own time, up to
an hour ahead of the broker's with a fast producer. So if an event's id was forgotten, t <= c <= horizon, and
an event after the horizon whose id is not remembered was never counted. The horizon never falls, and a repeat
has the time of the original: a producer that stamps repeats anew makes new events.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from metering import remembered_ids
from metering.content_modes import EventFormatError, structured_event
from metering.records import Record
from metering.remembered_ids import RememberedIds, Sighting, Sightings
from metering.rules import Rules

COUNT_ATTRIBUTE: Final = "beyondhorizon"
"""The extension attribute of an event that is to be counted although it is beyond the horizon."""

COUNT: Final = "count"


class BatchIds:
    """The remembered ids while a batch is metered.

    Attributes:
        suspects: the ids of the batch that may be duplicates, with their newest sighting.
        sightings: the ids that the batch adds.
        horizon_max_ms: an upper limit of the horizon until the next tick; later events need no closer look.
    """

    def __init__(self, ids: RememberedIds, digests: Sequence[int], rules: Rules) -> None:
        self.suspects: dict[int, Sighting | None] = ids.suspects(digests)
        self.sightings = Sightings()
        self._ids = ids
        self._rules = rules
        self._chunk_ids = remembered_ids.CHUNK_IDS
        self._first_number = ids.next_number
        self._first_chunk = ids.first_chunk
        self._horizon_ms = ids.horizon_ms
        self.horizon_max_ms = self._horizon_limit(len(digests))

    def is_duplicate(self, suspect: int) -> bool:
        """True if the id of a suspect is remembered."""
        self._forget_beyond_limit()
        sighting = self.suspects[suspect]
        return sighting is not None and sighting.number >= self._first_chunk * self._chunk_ids

    def add_again(self, suspect: int, now_ms: int) -> None:
        """Note the sighting of a suspect that is added to the sightings next."""
        self.suspects[suspect] = Sighting(self._first_number + len(self.sightings), now_ms)

    def horizon_ms(self) -> int:
        """The horizon now; 0 if nothing was forgotten."""
        self._forget_beyond_limit()
        return self._horizon_ms

    def tick(self, tick_ms: int) -> None:
        """Forget what is older than the window."""
        self._forget_beyond_limit()
        before_ms = tick_ms - self._rules.duplicate_window_ms
        full = self._next_number // self._chunk_ids
        while self._first_chunk < full and self._newest_ms(self._first_chunk) < before_ms:
            self._forget_chunk()
        self.horizon_max_ms = max(self.horizon_max_ms, self._horizon_ms)

    def after(self, stored: bytes) -> RememberedIds:
        """The ids after the batch, given its sightings in their stored form."""
        self._forget_beyond_limit()
        return self._ids.with_sightings(stored).without_chunks_before(self._first_chunk, self._horizon_ms)

    @property
    def _next_number(self) -> int:
        return self._first_number + len(self.sightings)

    def _horizon_limit(self, events: int) -> int:
        """The horizon if all events of the batch had new ids."""
        chunks = self._chunks_beyond_limit(self._first_number + events)
        if chunks > len(self._ids.newest_ms):
            return sys.maxsize
        return max(self._horizon_ms, *self._ids.newest_ms[: max(0, chunks)], 0)

    def _chunks_beyond_limit(self, next_number: int) -> int:
        return (next_number - self._rules.remembered_ids_max) // self._chunk_ids - self._first_chunk

    def _forget_beyond_limit(self) -> None:
        for _ in range(self._chunks_beyond_limit(self._next_number)):
            self._forget_chunk()

    def _forget_chunk(self) -> None:
        self._horizon_ms = max(self._horizon_ms, self._newest_ms(self._first_chunk))
        self._first_chunk += 1

    def _newest_ms(self, chunk: int) -> int:
        """The newest time of a full chunk."""
        ids = self._ids
        if chunk < ids.tail_chunk:
            return ids.newest_ms[chunk - ids.first_chunk]
        first = (chunk - ids.tail_chunk) * self._chunk_ids
        times_ms = [*remembered_ids.times_ms(ids.tail), *self.sightings.seen_at_ms]
        return max(times_ms[first : first + self._chunk_ids])


class _Marked(Struct):
    beyondhorizon: Any = None


_decoder: Final = msgspec.json.Decoder(_Marked)


def is_confirmed(record: Record) -> bool:
    """True if the event of a record has the attribute that lets it count beyond the horizon."""
    try:
        marked = _decoder.decode(structured_event(record.value, record.headers) or b"")
    except (ValueError, RecursionError, EventFormatError):
        return False
    return bool(marked.beyondhorizon == COUNT)
