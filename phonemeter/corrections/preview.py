"""The preview of a correction: the settlement worked out as if it had been recorded, its moves added up.

The working out is the settler's own, on the ledger in ClickHouse with one entry more.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec.structs import asdict

from metering.corrected_facts import correct_facts, terms_of
from metering.event_validation import read_event
from metering.events import ChangedFields, Settled, SettlementData
from metering.journal import details_json
from metering.ledger import Entry
from metering.ledger_facts import AccountLedger
from metering.rules import Rules
from metering.settlement_facts import AccountFacts, CorrectionFact, LedgerSums
from metering.times import LATEST_MS, format_time, to_ms
from phonemeter.corrections.amounts import AppAmounts, settled
from phonemeter.corrections.facts import CorrectableFact
from phonemeter.errors import OperationError
from sinks.settler.ledger import AppScope, SettlerLedger, UnsettledApp
from sinks.settler.work import AppWork, NotCompleteError, TooLargeError

GROUPS_MAX: Final = 2_000_000
"""Limit of sums by quota, day and place of an app, which takes about a gigabyte."""

TRIED: Final = "tried"
"""Event id of the correction that is tried, which is in no log."""

_NEWEST: Final = "SELECT toInt64(max(source_offset)) FROM ledger WHERE source_partition = %(partition)s"

FieldValues = Mapping[str, Any]
"""The fields of a fact with their values; moments as text."""


class Preview(NamedTuple):
    """The changes that a correction would make.

    Attributes:
        before, after: the fields of the fact that changes, which a correction of a correction is about in
            the end; None where it is void.
        amounts, amounts_after: of the app, after the settlement of what is unsettled already.
    """

    before: FieldValues | None
    after: FieldValues | None
    amounts: AppAmounts
    amounts_after: AppAmounts


class _LedgerWith(SettlerLedger):
    """The ledger through its newest record, with the entries `more`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.more: list[Entry] = []

    def complete_through(self, partition: int) -> int:
        """The newest offset. A settlement may miss no entry of its record; a preview may."""
        ((newest,),) = self._rows(_NEWEST, {"partition": partition})
        return int(newest)

    def facts(self, scope: AppScope) -> list[Entry]:
        """The entries of the app's facts, and those that are tried."""
        return [*super().facts(scope), *self.more]


class CorrectionTrial:
    """Tries corrections of one fact.

    Raises:
        sinks.errors.ClickHouseError: ClickHouse does not answer, or has no ledger.
    """

    def __init__(self, url: str, fact: CorrectableFact, rules: Rules) -> None:
        self._fact = fact
        self._rules = rules
        self._ledger = _LedgerWith(url)
        self._scope = AppScope(
            fact.entry.appid, fact.partition, self._ledger.complete_through(fact.partition), 0
        )
        self._known = AccountLedger()
        for entry in self._ledger.facts(self._scope):
            self._known.add(entry)
        self._root_id = self._root_of(fact.entry.event_id)

    def close(self) -> None:
        """Close the connection to ClickHouse."""
        self._ledger.close()

    @property
    def is_unsettled(self) -> bool:
        """True while the figures of the app may change by other facts."""
        return self._unsettled() is not None

    @property
    def newest(self) -> CorrectionFact | None:
        """The newest correction that concerns the fact already; None without one."""
        related = [
            each for each in self._known.facts.corrections if self._root_of(each.event_id) == self._root_id
        ]
        return max(related, key=lambda each: (each.time_ms, each.event_id), default=None)

    def preview(self, changed: ChangedFields | None, time_ms: int, amounts: AppAmounts) -> Preview:
        """The changes by a correction of a time: of the amounts, or of the facts that they come from.

        Raises:
            OperationError: the fact is not known, or the app cannot be worked out here and now.
        """
        said = {} if changed is None else {"set": changed}
        entry = self._fact.entry
        tried = Entry(
            self._scope.as_of + 1,
            0,
            "correction",
            time_ms,
            time_ms,
            entry.appid,
            event_id=TRIED,
            reason="void" if changed is None else "set",
            details=details_json(**said, event_id=entry.event_id),
        )
        correction = CorrectionFact(time_ms, TRIED, entry.event_id, changed, tried.offset)
        before = self._standing([])
        after = self._standing([correction])
        unsettled = self._unsettled()
        pending = [] if unsettled is None else self._settlement(unsettled, [])
        settlement = self._settlement(unsettled or self._settled(), [tried])
        return Preview(
            before,
            after,
            settled(amounts, pending, self._rules),
            settled(amounts, settlement, self._rules),
        )

    def _root_of(self, event_id: str) -> str:
        """The fact that an event is about in the end: itself, unless it is a correction."""
        by_id = {each.event_id: each for each in self._known.facts.corrections}
        seen: set[str] = set()
        while event_id in by_id and event_id not in seen:
            seen.add(event_id)
            event_id = by_id[event_id].fact_id
        return event_id

    def _standing(self, more: list[CorrectionFact]) -> FieldValues | None:
        """The fields of the fact by all its corrections; None if it is void."""
        known, root_id = self._known.facts, self._root_id
        calls = [call for call, _ in self._ledger.calls_of(self._scope, [root_id])]
        facts = AccountFacts(
            [each for each in known.purchases if each.event_id == root_id][:1],
            [each for each in known.refunds if each.event_id == root_id][:1],
            [each for each in known.registrations if each.event_id == root_id][:1],
            [*known.corrections, *more],
            calls[:1],
        )
        if not (facts.purchases or facts.refunds or facts.registrations or facts.corrected_calls):
            raise OperationError(
                f"The ledger does not have event {root_id} yet, which the correction is about: wait until it "
                "does, or publish the correction from your back end."
            )
        opened = LedgerSums(0, {}, {}, {}, observed=self._known.observed_packs)
        corrected = correct_facts(facts, opened, self._rules)
        if calls:
            kept = [] if root_id in corrected.void else calls
            return next((_text_of(each._asdict()) for each in (*kept, *corrected.put_in)), None)
        for purchase in corrected.facts.purchases:
            return _text_of(asdict(terms_of(purchase)))
        for refund in corrected.facts.refunds:
            by = "platform" if refund.by_platform else "owner"
            return _text_of({"time_ms": refund.time_ms, "pack_id": refund.pack_id, "by": by})
        for registration in corrected.facts.registrations:
            return _text_of(registration._asdict())
        return None

    def _unsettled(self) -> UnsettledApp | None:
        appid = self._scope.appid
        return next((each for each in self._ledger.unsettled() if each.appid == appid), None)

    def _settled(self) -> UnsettledApp:
        """The app as a settler would find it after the correction, if it is settled now."""
        scope = self._scope
        return UnsettledApp(
            scope.appid, scope.partition, LATEST_MS, -1, -1, -1, "", "", settled_as_of=scope.as_of
        )

    def _settlement(self, app: UnsettledApp, tried: list[Entry]) -> list[SettlementData]:
        self._ledger.more = tried
        work_out = AppWork(self._ledger, lambda: self._rules, GROUPS_MAX)
        try:
            settlement = work_out(app._replace(marked_offset=-1, misfits=0))
        except TooLargeError as error:
            raise OperationError(f"App {app.appid} is too large to be worked out here: {error}.") from None
        except NotCompleteError as error:
            raise OperationError(f"Try again in a moment: {error}.") from None
        finally:
            self._ledger.more = []
        read = [read_event(value, now_ms=None) for value in (settlement.events if settlement else ())]
        return [event.data for event in read if isinstance(event, Settled)]


def _text_of(fields: Mapping[str, Any]) -> FieldValues:
    """The fields that can be set, with moments as text, without those that are absent."""
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "time_ms":
            shown["time"] = format_time(value)
        elif isinstance(value, datetime):
            shown[name] = format_time(to_ms(value))
        elif name != "event_id" and value is not None:
            shown[name] = value
    return shown
