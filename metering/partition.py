"""One partition of the log: `(state, records) -> (state, entries)`, the whole of metering as one function.

The state is a value. Metering a batch gives a new state and leaves the old one as it was, and a replay of the
same records from the same state gives the same entries, however they are cut into batches. Only whoever
needs no older state than the newest one may give that up, for speed: see `WorkingState`.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final, NamedTuple

from immutables import Map
from msgspec import Struct

from metering import alerting, topics
from metering.accounts import Account
from metering.charging import authorize
from metering.dead_letters import DeadLetter
from metering.duplicates import RememberedIds, Sighting, Sightings, digest_of
from metering.events import (
    AlertingSet,
    AnyEvent,
    Authorization,
    ClockTicked,
    Purchased,
    Refunded,
    Registered,
    Rejection,
    UsageObserved,
)
from metering.exemption import is_exempt
from metering.ledger import Entry
from metering.lines import Lines, details_json
from metering.purchasing import purchase, refund
from metering.reading import read_all
from metering.rules import Rules
from metering.time_passing import advance, schedule
from metering.uncovered import UncoveredCalls


class Record(Struct, frozen=True, gc=False):
    """One record of the log.

    Attributes:
        offset: its place.
        recorded_at_ms: the broker's time; None offline, where a record arrives at its event time.
        key, value: as published.
    """

    offset: int
    recorded_at_ms: int | None
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class PartitionState:
    """All that decides what the next record of a partition does.

    Attributes:
        partition: its number.
        next_offset: the offset of the next record; all before it are in this state.
        tick_ms: the newest clock tick, which holds for every app.
        accounts: by appid.
        uncovered: remembered uncovered calls, by appid and capability.
        ids: remembered event ids.
    """

    partition: int
    next_offset: int = 0
    tick_ms: int = 0
    accounts: Mapping[str, Account] = field(default_factory=Map)
    uncovered: Map[tuple[str, str], UncoveredCalls] = field(default_factory=Map)
    ids: RememberedIds = field(default_factory=RememberedIds)

    def numbered(self) -> Sequence[Account]:
        """The accounts in the order of their numbers."""
        return sorted(self.accounts.values(), key=attrgetter("number"))


@dataclass(frozen=True, slots=True)
class WorkingState(PartitionState):
    """A state that metering a batch uses up: its accounts are changed where they lie, and go on to the next.

    With many apps a batch has little to do for each of them, and copying their accounts costs as much as
    metering their calls. In return there is no way back: what was metered and could not be published is lost
    with the state, which has to be read back from where it is stored.

    Attributes:
        accounts: by appid, in the order of their numbers, so that it need not be looked for.
    """

    accounts: dict[str, Account] = field(default_factory=dict)

    def numbered(self) -> Sequence[Account]:
        """The accounts in the order of their numbers."""
        return list(self.accounts.values())

    @staticmethod
    def of(state: PartitionState) -> "WorkingState":
        """Take a state over, which nobody else may use any more."""
        return WorkingState(
            state.partition,
            state.next_offset,
            state.tick_ms,
            {account.appid: account for account in state.numbered()},
            state.uncovered,
            state.ids,
        )


class Changes(NamedTuple):
    """What may differ between a state and an earlier one.

    Attributes:
        accounts: the numbers of the accounts that may.
        uncovered: the apps and capabilities whose uncovered calls may.
        sightings: the event ids that were seen for the first time, in order, in their stored form.
    """

    accounts: Set[int]
    uncovered: Set[tuple[str, str]]
    sightings: bytes

    @staticmethod
    def all_of(parts: Sequence["Changes"]) -> "Changes":
        """Those of several batches together."""
        return Changes(
            set().union(*(part.accounts for part in parts)),
            set().union(*(part.uncovered for part in parts)),
            b"".join(part.sightings for part in parts),
        )


class Metered(NamedTuple):
    """What a batch of records did.

    Attributes:
        state: after the last record.
        entries: ledger lines, in order.
        dead_letters: the records that are no events.
        alerts: those of the entries that people are told of.
        changes: what of the state may differ from before.
    """

    state: PartitionState
    entries: list[Entry]
    dead_letters: list[DeadLetter]
    alerts: list[Entry]
    changes: Changes


class OffsetGapError(ValueError):
    """Records were left out between the state and the batch: the caller must go back for them."""

    def __init__(self, partition: int, expected: int, got: int) -> None:
        super().__init__(f"partition {partition}: offset {expected} comes next, but {got} was delivered")
        self.expected = expected
        self.got = got


def meter(state: PartitionState, records: Iterable[Record], rules: Rules) -> Metered:
    """Meter a batch of records in the order of their offsets; those the state has already are skipped.

    Raises:
        OffsetGapError: a record is missing before one that was given. The state is as it was, working or not.
    """
    due = _due(state, records)
    events, times_ms = read_all(due, state.accounts)
    digests = [
        digest_of(event.subject, event.id) if isinstance(event, _REMEMBERED) else None for event in events
    ]
    batch = _Batch(state, rules, state.ids.suspects([digest for digest in digests if digest is not None]))
    batch.meter(zip(due, events, times_ms, digests, strict=True))
    return batch.finished(state.next_offset + len(due))


def _due(state: PartitionState, records: Iterable[Record]) -> Sequence[Record]:
    """The records that the state does not have yet, of which none may be missing."""
    due = [record for record in records if record.offset >= state.next_offset]
    for expected, record in enumerate(due, state.next_offset):
        if record.offset != expected:
            raise OffsetGapError(state.partition, expected, record.offset)
    return due


class _Batch:
    """A state while a batch is metered: accounts are copied when first touched, unless it is a working state.

    All that is changed is in `_accounts`; `_untouched` has the accounts that are not.
    """

    def __init__(self, state: PartitionState, rules: Rules, suspects: dict[int, Sighting | None]) -> None:
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
        self._suspects = suspects
        self._first_number = state.ids.next_number
        self._sightings = Sightings()
        # Looked up once and not at every event.
        self._touch = self._touched.add
        self._remember = self._sightings.digests.append
        self._remember_when = self._sightings.seen_at_ms.append
        self._lines = Lines()
        self._dead_letters: list[DeadLetter] = []

    def meter(self, arrived: Iterable[tuple[Record, AnyEvent | Rejection, int, int | None]]) -> None:
        """Do what the records ask for, each given with its event, the event's time and digest."""
        begin = self._lines.begin
        for record, event, time_ms, digest in arrived:
            begin(record.offset, time_ms if record.recorded_at_ms is None else record.recorded_at_ms)
            if digest is not None:
                self._event(event, digest, time_ms)  # type: ignore[arg-type]  # only an event has a digest
            elif isinstance(event, Rejection):
                self._reject(record, event)
            else:
                self._tick(time_ms)

    def finished(self, next_offset: int) -> Metered:
        """The state after the batch, and what the batch did."""
        before = self._before
        sightings = self._sightings.encoded()
        ids = before.ids.remembering(sightings)
        forget_before_ms = self._tick_ms - self._rules.duplicate_window_ms
        return Metered(
            replace(
                before,
                next_offset=next_offset,
                tick_ms=self._tick_ms,
                accounts=self._all_accounts(),
                uncovered=before.uncovered.update(self._uncovered) if self._uncovered else before.uncovered,
                ids=ids.forgetting(forget_before_ms, self._rules.remembered_ids_max),
            ),
            self._lines.entries,
            self._dead_letters,
            self._lines.alerts,
            Changes(self._touched, set(self._uncovered), sightings),
        )

    def _all_accounts(self) -> Mapping[str, Account]:
        if not self._accounts or self._accounts is self._before.accounts:
            return self._before.accounts
        return Map(self._untouched).update(self._accounts)

    def _event(self, event: AnyEvent, digest: int, time_ms: int) -> None:
        appid = event.subject
        account = self._accounts.get(appid)
        known = account or self._untouched.get(appid)
        now_ms = max(time_ms, self._tick_ms)
        if known is not None and known.clock_ms > now_ms:
            now_ms = known.clock_ms
        if digest in self._suspects and self._is_duplicate(digest, now_ms):
            capability = "" if isinstance(event, _WITHOUT_CAPABILITY) else event.data.capability
            self._lines.add("duplicate", time_ms, appid, capability, event_id=event.id, source=event.source)
            return
        self._remember(digest)
        self._remember_when(now_ms)
        if account is None:
            account = self._account(appid)
        self._touch(account.number)
        if now_ms > account.clock_ms:
            advance(account, now_ms, self._lines, self._rules)
        if isinstance(event, Authorization):
            uncovered = authorize(account, event, time_ms, self._lines, self._rules)
            if uncovered is not None:
                place = (appid, event.data.capability)
                self._uncovered[place] = self._uncovered_calls(place).remembering(uncovered)
        else:
            self._apply(account, event, time_ms)

    def _apply(self, account: Account, event: AnyEvent, time_ms: int) -> None:
        lines, rules = self._lines, self._rules
        if isinstance(event, Purchased):
            place = (account.appid, event.data.capability)
            self._uncovered[place] = purchase(
                account, event, time_ms, self._uncovered_calls(place), lines, rules
            )
        elif isinstance(event, Refunded):
            refund(account, event, time_ms, lines, rules)
        elif isinstance(event, Registered):
            _register(account, event, time_ms, lines)
        elif isinstance(event, AlertingSet):
            alerting.set_thresholds(account, event, time_ms, lines, rules)
            schedule(account, rules)
        elif isinstance(event, UsageObserved):
            _observe(event, time_ms, lines)

    def _tick(self, time_ms: int) -> None:
        """Time passes for all apps of the partition; only those for which something falls due are touched."""
        if time_ms <= self._tick_ms:
            return
        self._tick_ms = time_ms
        due = [
            appid
            for appid, account in self._untouched.items()
            if account.due_ms <= time_ms and appid not in self._accounts
        ]
        due += [appid for appid, account in self._accounts.items() if account.due_ms <= time_ms]
        for appid in sorted(due):
            account = self._account(appid)
            self._touch(account.number)
            advance(account, time_ms, self._lines, self._rules)

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
                self._lines.add("trial_grant", at_ms, appid, capability, calls=calls, remaining=calls)
        return account

    def _uncovered_calls(self, place: tuple[str, str]) -> UncoveredCalls:
        return self._uncovered.get(place) or self._before.uncovered.get(place) or UncoveredCalls()

    def _is_duplicate(self, digest: int, now_ms: int) -> bool:
        """Whether the id of a suspect was seen within the window; if not, it is remembered from now on."""
        number = self._first_number + len(self._sightings)
        seen = self._suspects[digest]
        if (
            seen is not None
            and seen.number >= number - self._rules.remembered_ids_max
            and now_ms - seen.seen_at_ms <= self._rules.duplicate_window_ms
        ):
            return True
        self._suspects[digest] = Sighting(number, now_ms)
        return False

    def _reject(self, record: Record, rejection: Rejection) -> None:
        recorded_at_ms = record.recorded_at_ms or self._tick_ms
        self._lines.begin(record.offset, recorded_at_ms)
        self._lines.add(
            "rejection",
            recorded_at_ms,
            "",
            reason=rejection.reason,
            details=details_json(sentence=rejection.sentence),
        )
        self._dead_letters.append(
            DeadLetter(
                topic=topics.EVENTS,
                partition=self._before.partition,
                offset=record.offset,
                recorded_at_ms=recorded_at_ms,
                reason=rejection.reason,
                sentence=rejection.sentence,
                key=record.key,
                value=record.value,
            )
        )


_NONE: Final[Mapping[str, Account]] = {}

_REMEMBERED = (Authorization, Purchased, Refunded, Registered, AlertingSet, UsageObserved)
"""What can be a duplicate: every event but a clock tick; the most frequent first."""

_WITHOUT_CAPABILITY = (Refunded, Registered, AlertingSet, ClockTicked)


def _register(account: Account, event: Registered, time_ms: int, lines: Lines) -> None:
    data = event.data
    account.name, account.entity_type, account.category = data.name, data.entity_type, data.category
    account.exempt = is_exempt(data.entity_type, data.category)
    lines.add(
        "registration",
        time_ms,
        account.appid,
        event_id=event.id,
        reason="exempt" if account.exempt else "charged",
        source=event.source,
        details=details_json(name=data.name, entity_type=data.entity_type, category=data.category),
    )


def _observe(event: UsageObserved, time_ms: int, lines: Lines) -> None:
    data = event.data
    lines.add(
        "usage_observed",
        time_ms,
        event.subject,
        data.capability,
        event_id=event.id,
        pack_id=data.pack_id,
        source=event.source,
        details=details_json(used=data.used, size=data.size),
    )
