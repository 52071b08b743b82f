"""What became of a dead letter later: the log itself remembers, so that no other store has to.

An event that is put back carries the name of its letter as the CloudEvents extension attribute `deadletter`.
A producer may also have sent the event right by itself, under the same id. Both are found by reading
`phone-events` from the time of the letter on.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from metering.dead_letters import DeadLetter
from metering.events import Rejection, read_record
from metering.topics import EVENTS
from phonemeter.dead_letters.letters import Claim, Identity, claim_of, identity_of
from phonemeter.replay.reading import TopicReader

ATTRIBUTE: Final = "deadletter"


class Fix(NamedTuple):
    """The first later event that stands for a letter: its place, its time, whether it was a retry."""

    partition: int
    offset: int
    recorded_at_ms: int
    how: Literal["retried", "sent again"]


class Sought(NamedTuple):
    """A letter whose fix is looked for."""

    identity: Identity
    recorded_at_ms: int
    claim: Claim


def sought(letter: DeadLetter) -> Sought:
    """What is needed of a letter to look for its fix."""
    return Sought(identity_of(letter), letter.recorded_at_ms, claim_of(letter))


class _Marked(Struct):
    subject: str
    id: str
    deadletter: Any = None


_decoder = msgspec.json.Decoder(_Marked)


def find_fixes(reader: TopicReader, letters: Iterable[Sought]) -> dict[Identity, Fix]:
    """The fixes of those letters that have one. Reads the log from the oldest of the letters on."""
    search = _Search(letters)
    if not search.since_ms:
        return {}
    for partition, span in reader.spans_since(EVENTS, min(search.since_ms.values())).items():
        for batch in reader.batches(EVENTS, partition, span):
            for record in batch:
                search.look_at(partition, record)
    return search.found


class _Search:
    def __init__(self, letters: Iterable[Sought]) -> None:
        self.found: dict[Identity, Fix] = {}
        self.since_ms: dict[Identity, int] = {}
        self._by_name: dict[str, Identity] = {}
        self._by_claim: defaultdict[Claim, list[Identity]] = defaultdict(list)
        for identity, recorded_at_ms, claim in letters:
            self.since_ms[identity] = recorded_at_ms
            self._by_name[str(identity)] = identity
            if claim.event_id:
                self._by_claim[claim].append(identity)

    def look_at(self, partition: int, record: Any) -> None:  # noqa: ANN401 - kafka-python has no types
        try:
            marked = _decoder.decode(record.value or b"")
        except (ValueError, RecursionError):
            return
        retried = self._by_name.get(marked.deadletter) if isinstance(marked.deadletter, str) else None
        same_id = self._by_claim.get(Claim(marked.subject, marked.id), [])
        if retried is None and not same_id:
            return
        if isinstance(read_record(record.key, record.value, now_ms=record.timestamp), Rejection):
            return
        if retried is not None:
            self._keep(retried, Fix(partition, record.offset, record.timestamp, "retried"))
        for identity in same_id:
            if identity != retried:
                self._keep(identity, Fix(partition, record.offset, record.timestamp, "sent again"))

    def _keep(self, identity: Identity, fix: Fix) -> None:
        later = fix.recorded_at_ms >= self.since_ms[identity]
        if identity.partition == fix.partition:
            later = fix.offset > identity.offset
        known = self.found.get(identity)
        if later and (known is None or fix.recorded_at_ms < known.recorded_at_ms):
            self.found[identity] = fix
