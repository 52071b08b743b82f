"""Settlement offline: apps are worked out from the facts that were kept while a file was rated (rule 8)."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from metering.accounts import NEVER_MS, Account
from metering.ledger import Entry
from metering.ledger_facts import LedgerFacts, Place
from metering.partition_state import PartitionState
from metering.rules import Rules
from metering.settlement import work_out
from metering.settlement_events import settlement_event, settlement_parts

CALLS_MAX: Final = 20_000_000
"""Limit of calls that are kept, which take 24 bytes each."""

ROUNDS_MAX: Final = 5
"""Limit of rounds. The first moves calls, and the second finds nothing left."""

_SOURCE: Final = "/phonemeter/rate"


class TooManyCallsError(ValueError):
    """A file holds more calls than can be kept."""


class SettlementEvent(NamedTuple):
    """An event of a settlement, and its app."""

    appid: str
    value: bytes


class OfflineSettler:
    """The facts of a file, by app. Scenes, stores and builds are not kept apart."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._places: dict[Place, int] = {}
        self._apps: dict[str, LedgerFacts] = {}
        self._calls = 0

    def add(self, entries: Iterable[Entry]) -> None:
        """Keep the facts of ledger entries.

        Raises:
            TooManyCallsError: there are too many.
        """
        apps = self._apps
        for entry in entries:
            facts = apps.get(entry.appid)
            if facts is None:
                facts = apps[entry.appid] = LedgerFacts(self._places, by_place=False)
            self._calls += facts.add(entry)
        if self._calls > CALLS_MAX:
            raise TooManyCallsError(f"more than {CALLS_MAX:,} calls are too many to put in order")

    def events(self, state: PartitionState) -> Iterator[SettlementEvent]:
        """The settlements of the apps that are unsettled; none once all are settled."""
        for appid in sorted(self._apps):
            account = state.accounts.get(appid)
            if account is not None and account.unsettled_ms < NEVER_MS:
                yield from self._settlement(account, state.next_offset - 1)

    def _settlement(self, account: Account, as_of: int) -> Iterator[SettlementEvent]:
        known = self._apps[account.appid]
        ledger = known.sums(account, self._rules)
        correction = work_out(ledger, known.facts, known.calls(ledger.from_ms), self._rules)
        for data in settlement_parts(ledger, correction, as_of=as_of, after=account.settled_offset):
            value = settlement_event(account.appid, data, time_ms=account.clock_ms, source=_SOURCE)
            yield SettlementEvent(account.appid, value)
