"""The entries of one app in memory: the answers that ClickHouse would give, without asking it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from metering.ledger import Entry
from metering.ledger_facts import capability_of, quota_of
from metering.settlement_facts import CallFact, LedgerGroup
from metering.times import shanghai_day
from sinks.settler.ledger import CALL_KINDS, DERIVED, FACT_KINDS, AppScope, with_stored_id


class AppEntries:
    """The entries of one app as of an offset; all scopes that are asked for are of it."""

    def __init__(self, as_of: int, entries: Sequence[Entry]) -> None:
        self._as_of = as_of
        self._entries = entries

    def complete_through(self, _partition: int) -> int:
        """The offset that was complete before and after the reading."""
        return self._as_of

    def count(self, _scope: AppScope) -> int:
        """The number of entries."""
        return len(self._entries)

    def facts(self, _scope: AppScope) -> list[Entry]:
        """As `SettlerLedger.facts`."""
        ids = {entry.event_id for entry in self._entries}
        return [
            with_stored_id(entry, ids) if entry.kind == "correction" else entry
            for entry in self._entries
            if entry.kind in FACT_KINDS
        ]

    def used_before(self, scope: AppScope) -> list[tuple[str, str, str, int]]:
        """As `SettlerLedger.used_before`."""
        used: Counter[tuple[str, str, str]] = Counter()
        for entry in self._entries:
            if entry.time_ms < scope.from_ms and entry.kind in {"charge", "trial_charge"}:
                used[entry.kind, entry.capability, entry.pack_id] += entry.calls
        return [(*quota, calls) for quota, calls in used.items()]

    def sums(self, scope: AppScope, most: int) -> dict[LedgerGroup, int]:
        """As `SettlerLedger.sums`."""
        sums: Counter[LedgerGroup] = Counter()
        for entry in self._entries:
            if entry.time_ms >= scope.from_ms and entry.kind in CALL_KINDS:
                where = (shanghai_day(entry.time_ms), entry.scene, entry.store, entry.env)
                quota = quota_of(entry.kind, entry.pack_id) or ""
                sums[LedgerGroup(capability_of(entry), quota, *where)] += entry.calls
        return dict(islice(((group, calls) for group, calls in sums.items() if calls), most + 1))

    def calls(self, scope: AppScope) -> Iterator[list[CallFact]]:
        """As `SettlerLedger.calls`."""
        calls = [call for call, _ in self._calls() if call.time_ms >= scope.from_ms]
        yield sorted(calls, key=lambda call: (call.time_ms, call.event_id))

    def calls_of(self, _scope: AppScope, event_ids: Sequence[str]) -> list[tuple[CallFact, int]]:
        """As `SettlerLedger.calls_of`."""
        wanted = frozenset(event_ids)
        return [(call, offset) for call, offset in self._calls() if call.event_id in wanted]

    def _calls(self) -> Iterator[tuple[CallFact, int]]:
        """The calls with their source offsets."""
        for entry in self._entries:
            if entry.kind in CALL_KINDS and entry.calls == 1 and entry.reason not in DERIVED:
                where = (entry.scene, entry.store, entry.env)
                yield CallFact(entry.time_ms, capability_of(entry), *where, entry.event_id), entry.offset
