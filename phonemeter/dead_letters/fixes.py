"""The fix of a dead letter, found in the log itself, so no other store is needed.

An event that is published again has the id of its letter in the CloudEvents extension attribute `deadletter`.
A producer may also have sent the corrected event by itself, under the same id. Both are found by reading
`phone-events` from the time of the letter on.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from metering.batch_ids import is_confirmed
from metering.content_modes import structured_event
from metering.dead_letters import DeadLetter
from metering.event_reader import read
from metering.placement import PartitionIndex
from metering.records import Record
from metering.rejections import Rejection
from metering.topics import EVENTS
from phonemeter.claimed_event import ClaimedEvent, claimed_event
from phonemeter.dead_letters.letter_log import LetterId, letter_id
from phonemeter.topic_reader import TopicReader

ATTRIBUTE: Final = "deadletter"


class Fix(NamedTuple):
    """The first later event that replaces a letter: its position, its time, and whether it was a retry."""

    partition: int
    offset: int
    recorded_at_ms: int
    how: Literal["retried", "sent again"]


class SoughtLetter(NamedTuple):
    """A letter whose fix is searched for; one that is `held` is fixed by a confirmed event only."""

    identity: LetterId
    recorded_at_ms: int
    claim: ClaimedEvent
    held: bool = False


def sought_letter(letter: DeadLetter) -> SoughtLetter:
    """The fields of a letter that are needed to search for its fix."""
    return SoughtLetter(
        letter_id(letter), letter.recorded_at_ms, claimed_event(letter), letter.reason == "beyond_horizon"
    )


class _Marked(Struct):
    subject: str
    id: str
    deadletter: Any = None


_decoder = msgspec.json.Decoder(_Marked)


def find_fixes(reader: TopicReader, letters: Iterable[SoughtLetter]) -> dict[LetterId, Fix]:
    """The fixes of those letters that have one. Reads the log from the oldest of the letters on."""
    search = _FixSearch(letters, len(reader.spans(EVENTS)))
    if not search.since_ms:
        return {}
    for partition, span in reader.spans_since(EVENTS, min(search.since_ms.values())).items():
        for batch in reader.batches(EVENTS, partition, span):
            for record in batch:
                search.look_at(partition, record)
    return search.found


class _FixSearch:
    def __init__(self, letters: Iterable[SoughtLetter], partitions: int) -> None:
        self._partitions = partitions
        self.found: dict[LetterId, Fix] = {}
        self.since_ms: dict[LetterId, int] = {}
        self._held: set[LetterId] = set()
        self._by_name: dict[str, LetterId] = {}
        self._by_claim: defaultdict[ClaimedEvent, list[LetterId]] = defaultdict(list)
        for identity, recorded_at_ms, claim, held in letters:
            self.since_ms[identity] = recorded_at_ms
            self._by_name[str(identity)] = identity
            if held:
                self._held.add(identity)
            if claim.event_id:
                self._by_claim[claim].append(identity)

    def look_at(self, partition: int, record: Record) -> None:
        try:
            marked = _decoder.decode(structured_event(record.value, record.headers) or b"")
        except (ValueError, RecursionError):
            return
        retried = self._by_name.get(marked.deadletter) if isinstance(marked.deadletter, str) else None
        same_id = self._by_claim.get(ClaimedEvent(marked.subject, marked.id), [])
        if retried is None and not same_id:
            return
        place = PartitionIndex(partition, self._partitions)
        if isinstance(read(record, place), Rejection):
            return
        if not is_confirmed(record):
            retried = None if retried in self._held else retried
            same_id = [identity for identity in same_id if identity not in self._held]
        if retried is not None:
            self._keep(retried, Fix(partition, record.offset, record.recorded_at_ms or 0, "retried"))
        for identity in same_id:
            if identity != retried:
                self._keep(identity, Fix(partition, record.offset, record.recorded_at_ms or 0, "sent again"))

    def _keep(self, identity: LetterId, fix: Fix) -> None:
        later = fix.recorded_at_ms >= self.since_ms[identity]
        if identity.partition == fix.partition:
            later = fix.offset > identity.offset
        known = self.found.get(identity)
        if later and (known is None or fix.recorded_at_ms < known.recorded_at_ms):
            self.found[identity] = fix
