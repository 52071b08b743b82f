"""The settlements that may have moved one call (rule 8).

They move calls of a capability, day, scene, store and build by their number: which ones is not said.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Final

import msgspec
from msgspec import Struct

from metering.ledger import Entry
from metering.ledger_facts import quota_of
from metering.settlement_changes import PACK
from metering.times import shanghai_day, shanghai_time


class SettledMove(Struct, frozen=True):
    """Calls like one call, of a quota that had it as far as is known, that a settlement moved to another.

    Attributes:
        offset, recorded_at_ms, event_id: of the settlement.
        calls: number of calls that it moved.
        of_calls: number of calls of that day, scene, store and build that the quota had.
        from_, to: the quotas, as in `metering.events.Quota`.
    """

    offset: int
    recorded_at_ms: int
    event_id: str
    calls: int
    of_calls: int
    from_: str = msgspec.field(name="from")
    to: str

    @property
    def sentence(self) -> str:
        """The move in a sentence."""
        if self.calls == self.of_calls:
            which = f"all {self.calls:,} calls" if self.calls > 1 else "the only call"
        else:
            which = f"{self.calls:,} of the {self.of_calls:,} calls"
        return (
            f"A settlement on {shanghai_time(self.recorded_at_ms)} moved {which} of this day, scene, store "
            f"and build from {_named(self.from_)} to {_named(self.to)} (event {self.event_id})."
        )


class SettledMoves:
    """The moves of settlements that may have been about a call, given all entries of its partition in order.

    Attributes:
        found: the moves so far.
    """

    def __init__(self, call: Entry) -> None:
        self.found: list[SettledMove] = []
        self._call = call
        self._day = shanghai_day(call.time_ms)
        self._counts: Counter[str] = Counter()
        self._may_have_it = {quota_of(call.kind, call.pack_id)}

    def quota(self, entry: Entry) -> str | None:
        """The quota of which an entry moves calls like this one; None for other entries."""
        call = self._call
        if (
            entry.appid != call.appid
            or entry.capability != call.capability
            or (entry.scene, entry.store, entry.env) != (call.scene, call.store, call.env)
            or shanghai_day(entry.time_ms) != self._day
        ):
            return None
        return quota_of(entry.kind, entry.pack_id)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take up the entries of some records."""
        alike = [(quota, entry) for entry in entries if (quota := self.quota(entry)) is not None]
        for offset, together in groupby(alike, lambda each: each[1].offset):
            of_record = list(together)
            if offset > self._call.offset:
                self._follow(of_record)
            for quota, entry in of_record:
                self._counts[quota] += entry.calls

    def _follow(self, of_record: list[tuple[str, Entry]]) -> None:
        """Follow the call from quota to quota."""
        reached, gone = set[str](), Counter[str]()
        for quota, entry in of_record:
            if entry.reason == "taken_over" and entry.event_id == self._call.event_id and entry.calls > 0:
                self._may_have_it = {quota}
            elif entry.reason == "settled" and entry.calls < 0 and quota in self._may_have_it:
                to = msgspec.json.decode(entry.details, type=_Target).to
                self.found.append(
                    SettledMove(
                        entry.offset,
                        entry.recorded_at_ms,
                        entry.event_id,
                        -entry.calls,
                        self._counts[quota],
                        quota,
                        to,
                    )
                )
                reached.add(to)
                gone[quota] -= entry.calls
        emptied = {quota for quota, calls in gone.items() if calls >= self._counts[quota]}
        self._may_have_it = (self._may_have_it - emptied) | reached


class _Target(Struct):
    """The part of a move's details that says where its calls went."""

    to: str


_NAMES: Final = {
    "trial": "the trial quota",
    "uncovered": "the uncovered ones",
    "exempt": "the exempt ones",
    "corrected": "those that corrections took out of the log",
    "followed": "those that the platform does not count",
}


def _named(quota: str) -> str:
    """The name of a quota in a sentence."""
    return _NAMES.get(quota) or f"pack {quota.removeprefix(PACK)}"
