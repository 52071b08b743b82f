"""One partition of the log: `meter` is the whole of metering, `(state, records) -> (state, entries)`.

Metering a batch returns a new state and leaves the old one unchanged. A replay of the same records from the
same state gives the same entries, however the records are cut into batches.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Final, NamedTuple

from immutables import Map

from metering import openings, topics
from metering.account_migration import migrate
from metering.accounts import Account
from metering.batch_ids import BatchIds, is_confirmed
from metering.charge_notices import request_notice
from metering.charges import authorize
from metering.corrections import correct, mark_corrected
from metering.dead_letters import DeadLetter
from metering.event_reader import read_all
from metering.events import (
    AgreementSet,
    AlertingSet,
    AnyEvent,
    Authorization,
    Capability,
    ChargeNoticeRequested,
    ClockTicked,
    Corrected,
    Migrated,
    Opened,
    Purchased,
    Refunded,
    Registered,
    RoutingSet,
    Settled,
    UsageObserved,
)
from metering.journal import Journal, details_json
from metering.ledger import Entry
from metering.milestones import advance
from metering.owner_settings import OwnerSetting, apply_setting
from metering.partition_state import PartitionState, WorkingState
from metering.purchases import purchase, refund
from metering.records import Record, RecordRange
from metering.registration import register
from metering.rejections import Rejection
from metering.remembered_ids import digest_of
from metering.rules import Rules
from metering.settling import refuse_unknown, settle
from metering.times import shanghai_time
from metering.uncovered import UncoveredCall, UncoveredCalls


class StateChanges(NamedTuple):
    """The parts of a state that may differ from an earlier one.

    Attributes:
        accounts: numbers of the accounts.
        uncovered: apps and capabilities with other uncovered calls.
        sightings: event ids seen for the first time, in order, in their stored form.
    """

    accounts: Set[int]
    uncovered: Set[tuple[str, str]]
    sightings: bytes

    @staticmethod
    def all_of(parts: Sequence["StateChanges"]) -> "StateChanges":
        """The changes of several batches together."""
        return StateChanges(
            set().union(*(part.accounts for part in parts)),
            set().union(*(part.uncovered for part in parts)),
            b"".join(part.sightings for part in parts),
        )


class MeteringResult(NamedTuple):
    """The result of metering a batch of records: the state after it, and what may differ from before.

    `alerts` are those `entries` that are of kind `alert` or `recovery`.
    """

    state: PartitionState
    entries: list[Entry]
    dead_letters: list[DeadLetter]
    alerts: list[Entry]
    changes: StateChanges


class OffsetGapError(ValueError):
    """Records are missing between the state and the batch: the caller must fetch them."""

    def __init__(self, partition: int, expected: int, got: int) -> None:
        super().__init__(f"partition {partition}: offset {expected} comes next, but {got} was delivered")
        self.expected = expected
        self.got = got


def meter(state: PartitionState, records: Iterable[Record], rules: Rules) -> MeteringResult:
    """Meter a batch of records in the order of their offsets; records that the state has already are skipped.

    Unless they are a `RecordRange`, their offsets have no gaps.

    Raises:
        OffsetGapError: a record is missing. The state, also a working state, is unchanged.
    """
    due, next_offset = _due(state, records)
    events, times_ms = read_all(due, state.accounts, state.place)
    digests = [
        digest_of(event.subject, event.id) if isinstance(event, _REMEMBERED) else None for event in events
    ]
    looked_up = [digest for digest in digests if digest is not None]
    looked_up += [
        digest_of(event.subject, event.data.event_id) for event in events if isinstance(event, Corrected)
    ]
    ids = BatchIds(state.ids, looked_up, rules)
    batch = _BatchMeter(state, rules, ids)
    batch.meter(zip(due, events, times_ms, digests, strict=True))
    return batch.result(next_offset)


def _due(state: PartitionState, records: Iterable[Record]) -> tuple[Sequence[Record], int]:
    """The records that the state does not have yet, and the offset behind them."""
    at = state.next_offset
    if isinstance(records, RecordRange):
        if records.begin > at:
            raise OffsetGapError(state.partition, at, records.begin)
        due = records if records.begin == at else [record for record in records if record.offset >= at]
        return due, max(at, records.end)
    due = [record for record in records if record.offset >= at]
    for expected, record in enumerate(due, at):
        if record.offset != expected:
            raise OffsetGapError(state.partition, expected, record.offset)
    return due, at + len(due)


class _BatchMeter:
    """The metering of one batch: accounts are copied when first touched, unless the state is a working state.

    Changed accounts are in `_accounts`, all others in `_untouched`.
    """

    def __init__(self, state: PartitionState, rules: Rules, ids: BatchIds) -> None:
        self._before = state
        self._rules = rules
        self._tick_ms = state.tick_ms
        if isinstance(state, WorkingState):
            self._accounts, self._untouched = state.accounts, _NONE
        else:
            self._accounts, self._untouched = {}, state.accounts
        self._known = len(state.accounts)
        self._touched: set[int] = set()
        self._uncovered: dict[tuple[str, str], UncoveredCalls] = {}
        self._ids = ids
        self._suspects = ids.suspects
        # Bound once, as they are called for every event.
        self._touch = self._touched.add
        self._remember = ids.sightings.digests.append
        self._remember_when = ids.sightings.seen_at_ms.append
        self._journal = Journal()
        self._dead_letters: list[DeadLetter] = []

    def meter(self, arrived: Iterable[tuple[Record, AnyEvent | Rejection, int, int | None]]) -> None:
        """Meter records, each given with its event, the event's time and digest."""
        begin = self._journal.begin
        for record, event, time_ms, digest in arrived:
            begin(record.offset, time_ms if record.recorded_at_ms is None else record.recorded_at_ms)
            if digest is not None:
                self._event(record, event, digest, time_ms)  # type: ignore[arg-type]  # only an event has a digest
            elif isinstance(event, Rejection):
                self._reject(record, event, record.recorded_at_ms or self._tick_ms)
            elif isinstance(event, Settled):
                self._settle(event)
            else:
                self._tick(time_ms)

    def result(self, next_offset: int) -> MeteringResult:
        """The result of the batch."""
        before = self._before
        sightings = self._ids.sightings.encoded()
        return MeteringResult(
            replace(
                before,
                next_offset=next_offset,
                tick_ms=self._tick_ms,
                accounts=self._all_accounts(),
                uncovered=before.uncovered.update(self._uncovered) if self._uncovered else before.uncovered,
                ids=self._ids.after(sightings),
            ),
            self._journal.entries,
            self._dead_letters,
            self._journal.alerts,
            StateChanges(self._touched, set(self._uncovered), sightings),
        )

    def _all_accounts(self) -> Mapping[str, Account]:
        if not self._accounts or self._accounts is self._before.accounts:
            return self._before.accounts
        return Map(self._untouched).update(self._accounts)

    def _event(self, record: Record, event: AnyEvent, digest: int, time_ms: int) -> None:
        appid = event.subject
        account = self._accounts.get(appid)
        known = account or self._untouched.get(appid)
        now_ms = max(time_ms, self._tick_ms)
        if known is not None and known.clock_ms > now_ms:
            now_ms = known.clock_ms
        is_suspect = digest in self._suspects
        if is_suspect and self._ids.is_duplicate(digest):
            capability = "" if isinstance(event, _WITHOUT_CAPABILITY) else event.data.capability or ""
            self._journal.add("duplicate", time_ms, appid, capability, event_id=event.id, source=event.source)
            return
        if time_ms <= self._ids.horizon_max_ms and self._hold(record, event, time_ms):
            return
        if is_suspect:
            self._ids.add_again(digest, now_ms)
        self._remember(digest)
        self._remember_when(now_ms)
        if account is None:
            account = self._account(appid)
        self._touch(account.number)
        if now_ms > account.clock_ms:
            advance(account, now_ms, self._journal, self._rules)
        if isinstance(event, Authorization):
            uncovered = authorize(account, event, time_ms, self._journal, self._rules)
            if uncovered is not None:
                self._remember_uncovered(account, event.data.capability, uncovered)
        else:
            self._apply(account, event, time_ms)
        if account.is_corrected:
            mark_corrected(account, event, time_ms, self._journal, self._rules)

    def _remember_uncovered(self, account: Account, capability: Capability, call: UncoveredCall) -> None:
        key = (account.appid, capability)
        before = self._uncovered_calls(key)
        after = self._uncovered[key] = before.with_call(call)
        if after.first != before.first:
            account.capabilities[capability].unremembered_ms = account.clock_ms

    def _apply(self, account: Account, event: AnyEvent, time_ms: int) -> None:
        journal, rules = self._journal, self._rules
        if isinstance(event, Purchased):
            key = (account.appid, event.data.capability)
            self._uncovered[key] = purchase(
                account, event, time_ms, self._uncovered_calls(key), journal, rules
            )
        elif isinstance(event, Refunded):
            refund(account, event, time_ms, journal, rules)
        elif isinstance(event, Registered):
            register(account, event, time_ms, journal, rules)
        elif isinstance(event, Opened):
            openings.open_trial(account, event, time_ms, journal, rules)
        elif isinstance(event, Migrated):
            migrate(account, event, time_ms, journal, rules)
        elif isinstance(event, Corrected):
            target = digest_of(account.appid, event.data.event_id)
            known = target in self._suspects and self._ids.is_duplicate(target)
            forgotten = self._ids.horizon_ms() > 0
            correct(account, event, time_ms, journal, rules, is_known=known, may_be_forgotten=forgotten)
        elif isinstance(event, OwnerSetting):
            apply_setting(account, event, time_ms, journal, rules)
        elif isinstance(event, ChargeNoticeRequested):
            request_notice(account, event, time_ms, journal)
        elif isinstance(event, UsageObserved):
            _observe(event, time_ms, journal)
            openings.open_observed(account, event, time_ms, journal, rules)

    def _settle(self, event: Settled) -> None:
        """Apply a settlement. It moves no clock, and a repeated one is overtaken by the first."""
        appid = event.subject
        if appid not in self._accounts and appid not in self._untouched:
            refuse_unknown(event, self._tick_ms, self._journal)
            return
        account = self._account(appid)
        self._touch(account.number)
        advance(account, self._tick_ms, self._journal, self._rules)
        held = {capability: self._uncovered_calls((appid, capability)) for capability in account.capabilities}
        for capability, calls in settle(account, event, held, self._journal, self._rules).items():
            if calls is not held[capability]:
                self._uncovered[appid, capability] = calls

    def _tick(self, time_ms: int) -> None:
        """Advance the clock of all apps of the partition; only those with a due milestone are touched."""
        if time_ms <= self._tick_ms:
            return
        if not self._tick_ms:
            self._journal.add("clock_start", time_ms, "")
        self._tick_ms = time_ms
        self._ids.tick(time_ms)
        due = [
            appid
            for appid, account in self._untouched.items()
            if account.due_ms <= time_ms and appid not in self._accounts
        ]
        due += [appid for appid, account in self._accounts.items() if account.due_ms <= time_ms]
        for appid in sorted(due):
            account = self._account(appid)
            self._touch(account.number)
            advance(account, time_ms, self._journal, self._rules)

    def _account(self, appid: str) -> Account:
        account = self._accounts.get(appid)
        if account is None:
            known = self._untouched.get(appid)
            account = self._accounts[appid] = known.copy() if known else self._grant_trial(appid)
        return account

    def _grant_trial(self, appid: str) -> Account:
        account = Account.new(appid, self._rules, self._known)
        self._known += 1
        for capability, calls in account.trials.items():
            if calls:
                at_ms = self._rules.billing_start_ms
                self._journal.add("trial_grant", at_ms, appid, capability, calls=calls, remaining=calls)
        return account

    def _uncovered_calls(self, key: tuple[str, str]) -> UncoveredCalls:
        return self._uncovered.get(key) or self._before.uncovered.get(key) or UncoveredCalls()

    def _hold(self, record: Record, event: AnyEvent, time_ms: int) -> bool:
        """Hold an event that may have been counted before its id was forgotten; False if it counts."""
        horizon_ms = self._ids.horizon_ms()
        if time_ms > horizon_ms or is_confirmed(record):
            return False
        sentence = (
            f"The event may have been counted before: its time, {shanghai_time(time_ms)}, is not after "
            f"{shanghai_time(horizon_ms)}, back to which repeats are recognised. `phonemeter dead-letters "
            "retry` counts it unless ClickHouse's ledger has it."
        )
        rejection = Rejection("beyond_horizon", sentence, event.source)
        self._reject(record, rejection, record.recorded_at_ms or time_ms)
        return True

    def _reject(self, record: Record, rejection: Rejection, recorded_at_ms: int) -> None:
        self._journal.begin(record.offset, recorded_at_ms)
        self._journal.add(
            "rejection",
            recorded_at_ms,
            "",
            reason=rejection.reason,
            source=rejection.source,
            details=details_json(sentence=rejection.sentence),
        )
        self._dead_letters.append(_dead_letter(self._before.partition, record, recorded_at_ms, rejection))


def _dead_letter(partition: int, record: Record, recorded_at_ms: int, rejection: Rejection) -> DeadLetter:
    return DeadLetter(
        topic=topics.EVENTS,
        partition=partition,
        offset=record.offset,
        recorded_at_ms=recorded_at_ms,
        reason=rejection.reason,
        sentence=rejection.sentence,
        key=None,
        value=None,
    ).with_bytes(record.key, record.value, record.headers)


_NONE: Final[Mapping[str, Account]] = {}

_REMEMBERED = (
    Authorization,
    Purchased,
    Refunded,
    Registered,
    Opened,
    Migrated,
    Corrected,
    AlertingSet,
    UsageObserved,
    AgreementSet,
    RoutingSet,
    ChargeNoticeRequested,
)
"""Events that can be duplicates, the most frequent first. Ticks and settlements do nothing when repeated."""

_WITHOUT_CAPABILITY = (
    Refunded,
    Registered,
    Migrated,
    Corrected,
    AlertingSet,
    AgreementSet,
    Settled,
    ClockTicked,
)


def _observe(event: UsageObserved, time_ms: int, journal: Journal) -> None:
    data = event.data
    journal.add(
        "usage_observed",
        time_ms,
        event.subject,
        data.capability,
        event_id=event.id,
        pack_id=data.pack_id,
        source=event.source,
        details=details_json(
            used=data.used, size=data.size, **({} if data.covers == "quota" else {"covers": data.covers})
        ),
    )
