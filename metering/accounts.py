"""The account: all that the rules know of one app, as plain values to copy, store and compare.

Accounts contain no reference cycles, so the garbage collector skips them (`gc=False`): with a hundred
thousand apps, looking for cycles costs more than metering their calls.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct, structs

from metering.burn_rate import BurnRate
from metering.early_facts import EarlyObservation, EarlyRefund
from metering.events import Capability
from metering.packs import ClosedPack, Ending, Pack
from metering.routing_policy import RoutingPolicy
from metering.rules import BURN_CLIENT_CALLS, BURN_MINUTE_CALLS, BURN_PERCENT, Rules
from metering.times import DAY_MS

NEVER_MS: Final = 2**62
"""Later than any time: nothing is due."""

ALERT_AGE_MAX_MS: Final = DAY_MS
"""Age on the app's clock beyond which an event is past."""

RECENT_DAYS: Final = 7
"""Complete Shanghai days before the newest one whose calls are kept, for the mean use of a day."""


class CapabilityAccount(Struct, array_like=True, gc=False):
    """One capability of an app: its packs, its balance and the state of its alerts.

    The fields that every call needs come first, so that they lie together in memory.

    Attributes:
        open: packs that hold calls and have not lapsed, in consumption order; pending and late ones included.
        active_remaining: calls left in the packs that are valid on the app's clock.
        alarm_at: the balance at which the next armed level fires; -1 if none is armed.
        granted_ms: the newest evidence that the platform grants calls: a success, or the start of a pack.
        newest_day: newest Shanghai day on which a call was charged; 0 before the first.
        calls_today: calls charged on that day.
        trial: calls left of its own trial quota (rule 4).
        burn_rate: None before the first charged call.
        calls_before: calls charged on each of the `RECENT_DAYS` before the newest day, newest first;
            fewer while the first charged call is nearer.
        spent: exhausted packs that have not expired.
        closed: packs that ended, in the order of their ends.
        active_size: the size of the packs that are valid on the app's clock and hold calls.
        armed, fired: balance levels (percent) that will alert, and those that alerted and wait for a top-up.
        run_out_fired: True if the run-out alerted and waits for a top-up.
        uncovered_fired: True if uncovered calls alerted and wait for a top-up.
        refused_ms: the newest refusal by the platform (rule 18); -1 before the first.
        quiet_since_ms: the success with which its quiet period began.
        recovers_ms: the end of that period on the app's clock, -1 without one.
        turned_ms: a call that is not later may have been taken from a quota that has ended since (rule 8).
        ahead_ms: the newest call that was ahead of its arrival, which `granted_ms` leaves out.
        unremembered_ms: the newest uncovered call that no pack can take over at once.
        called: True after a call that was free, exempt or uncovered; see `has_called`.
        trial_used_before: calls of its own trial quota that were used before this log (rule 16).
        trial_opened_ms: the time as of which that was told; -1 if it never was.
        routing: its routing policy (rule 20); None for the default.
    """

    open: tuple[Pack, ...] = ()
    active_remaining: int = 0
    alarm_at: int = -1
    granted_ms: int = 0
    newest_day: int = 0
    calls_today: int = 0
    trial: int = 0
    burn_rate: BurnRate | None = None
    calls_before: tuple[int, ...] = ()
    spent: tuple[Pack, ...] = ()
    closed: tuple[ClosedPack, ...] = ()
    active_size: int = 0
    armed: tuple[int, ...] = ()
    fired: tuple[int, ...] = ()
    run_out_fired: bool = False
    uncovered_fired: bool = False
    refused_ms: int = -1
    quiet_since_ms: int = -1
    recovers_ms: int = -1
    turned_ms: int = -1
    ahead_ms: int = -1
    unremembered_ms: int = -1
    called: bool = False
    trial_used_before: int = 0
    trial_opened_ms: int = -1
    routing: RoutingPolicy | None = None

    def copy(self) -> "CapabilityAccount":
        """An independent copy; of its parts, only open packs and the burn rate are changed in place."""
        copied: CapabilityAccount = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        copied.open = tuple(pack.copy() for pack in self.open)
        burn_rate = self.burn_rate
        if burn_rate is not None:
            copied.burn_rate = burn_rate.__copy__()  # type: ignore[attr-defined] # see above
            copied.burn_rate.clients = burn_rate.clients.copy()
        return copied

    @property
    def newest_call_ms(self) -> int:
        """A time that no call is later than."""
        return max(self.granted_ms, self.ahead_ms)

    def turn(self, time_ms: int) -> None:
        """Remember that a quota ended which took calls up to this time."""
        self.turned_ms = max(self.turned_ms, time_ms)

    @property
    def packs(self) -> tuple[Pack, ...]:
        """Every pack ever bought."""
        return (*self.open, *self.spent, *(closed.pack for closed in self.closed))

    @property
    def has_called(self) -> bool:
        """True after its first call, whatever came of it."""
        return self.called or self.burn_rate is not None

    def begin_day(self, day: int) -> None:
        """Advance to a later Shanghai day."""
        if self.newest_day:
            idle = (0,) * min(day - self.newest_day - 1, RECENT_DAYS)
            self.calls_before = (*idle, self.calls_today, *self.calls_before)[:RECENT_DAYS]
        self.newest_day, self.calls_today = day, 0

    def count_on(self, day: int, calls: int = 1) -> None:
        """Count charged calls on the newest day, or on one of the kept days before it."""
        back = self.newest_day - day
        if back == 0:
            self.calls_today += calls
        elif back <= len(self.calls_before):
            days = list(self.calls_before)
            days[back - 1] += calls
            self.calls_before = tuple(days)

    def add_open(self, pack: Pack) -> None:
        """Insert a new pack into the consumption order."""
        self.open = tuple(sorted((*self.open, pack)))

    def reopen(self, pack: Pack) -> None:
        """Move a spent pack back to the open ones."""
        self.spent = without(self.spent, pack)
        self.add_open(pack)

    def close(self, pack: Pack, ending: Ending, lapsed: int = 0) -> None:
        """Move an open or spent pack to the closed ones."""
        self.open = without(self.open, pack)
        self.spent = without(self.spent, pack)
        self.closed = (*self.closed, ClosedPack(pack, ending, lapsed))

    def give_back(self, pack: Pack, calls: int, time_ms: int, *, lapsed: int = 0) -> None:
        """Move a pack to the closed ones as refunded, wherever it is."""
        self.remove(pack.pack_id)
        self.closed = (*self.closed, ClosedPack(pack, "refunded", lapsed, calls, time_ms))
        self.turn(time_ms)

    def remove(self, pack_id: str) -> None:
        """Remove a pack, wherever it is, to be put elsewhere."""
        self.open = tuple(pack for pack in self.open if pack.pack_id != pack_id)
        self.spent = tuple(pack for pack in self.spent if pack.pack_id != pack_id)
        self.closed = tuple(closed for closed in self.closed if closed.pack.pack_id != pack_id)

    def spend(self, pack: Pack) -> None:
        """Move an exhausted pack that has not expired to the spent ones."""
        self.open = without(self.open, pack)
        self.spent = (*self.spent, pack)


def without(packs: tuple[Pack, ...], pack: Pack) -> tuple[Pack, ...]:
    """The packs without one."""
    return tuple(other for other in packs if other is not pack and other != pack)


class AlertThresholds(Struct, frozen=True, array_like=True, gc=False):
    """The alert thresholds that hold for one app."""

    levels_percent: tuple[int, ...]
    expiry_days: tuple[int, ...]
    run_out_lead_days: int
    burn_minute_calls: int = BURN_MINUTE_CALLS
    burn_client_calls: int = BURN_CLIENT_CALLS
    burn_percent: int = BURN_PERCENT

    @staticmethod
    def default(rules: Rules) -> "AlertThresholds":
        """The thresholds of an app whose owner has set none."""
        return AlertThresholds(
            rules.alert_levels_percent,
            rules.alert_expiry_days,
            rules.run_out_lead_days,
            rules.burn_minute_calls,
            rules.burn_client_calls,
            rules.burn_percent,
        )


class Account(Struct, array_like=True, gc=False):
    """One app.

    It consists of few objects: with many apps, the memory access to each object dominates the cost.

    Attributes:
        appid: the app.
        clock_ms: its clock: the newest time of its own events and of clock ticks.
        due_ms: time of the next milestone (a pack starts, nears expiry, expires, lapses; a refusal recovers).
        trial: calls left of the trial quota that all capabilities share (rule 4).
        trial_alarm_at: calls left of a trial quota at which levels are checked; negative if at none.
        quick, realtime: its capabilities.
        exempt: counted, never charged (rule 9).
        thresholds: of its alerts; None for the defaults.
        name, entity_type, category: as registered.
        number: number of apps that its partition knew before it.
        early_refunds: refunds that wait for their purchase: of a pack at most one by its owner and one by
            the platform.
        unsettled_ms: the time from which facts that arrived late may have changed decisions (rule 8);
            `NEVER_MS` if the app is settled.
        unsettled_offset: source offset of the newest such fact, or of the newest settlement that moved calls.
        settled_offset: source offset of the newest settlement that was applied; -1 before the first.
        settling: of a settlement in parts, `as_of`, `after` and the part that was applied; else empty.
        taken_over_offset: source offset of the newest pack that took over uncovered calls.
        registered_ms, registered_id: time and id of the registration that holds.
        early_observations: counts of the platform that wait for their purchase, one per pack (rule 16).
        trial_used_before: calls of the shared trial quota that were used before this log (rule 16).
        trial_opened_ms: the time as of which that was told; -1 if it never was.
        early_corrections: ids of facts that were corrected and are not known (rule 15).
        is_corrected: True after its first correction.
        removed_packs: packs that corrections took away.
        migration: by which its packs left for another app, without a pack; None without one (rule 16).
        follows: True while differences to the platform's count that stay are booked (rule 17).
        followed_id: event id of the newest settlement that was to book some, unless it was overtaken.
    """

    appid: str
    clock_ms: int
    due_ms: int
    trial: int
    trial_alarm_at: int
    quick: CapabilityAccount
    realtime: CapabilityAccount
    exempt: bool = False
    thresholds: AlertThresholds | None = None
    name: str = ""
    entity_type: str = ""
    category: str = ""
    number: int = 0
    early_refunds: tuple[EarlyRefund, ...] = ()
    unsettled_ms: int = NEVER_MS
    unsettled_offset: int = -1
    settled_offset: int = -1
    settling: tuple[int, ...] = ()
    taken_over_offset: int = -1
    registered_ms: int = -1
    registered_id: str = ""
    early_observations: tuple[EarlyObservation, ...] = ()
    trial_used_before: int = 0
    trial_opened_ms: int = -1
    early_corrections: tuple[str, ...] = ()
    is_corrected: bool = False
    removed_packs: int = 0
    migration: EarlyRefund | None = None
    follows: bool = False
    followed_id: str = ""

    @staticmethod
    def new(appid: str, rules: Rules, number: int = 0) -> "Account":
        """The account of a new app, with its whole trial quota."""
        shared = rules.trial_calls if rules.trial_scope == "account" else 0
        own = rules.trial_calls - shared
        return Account(
            appid,
            0,
            NEVER_MS,
            shared,
            -1,
            CapabilityAccount(trial=own),
            CapabilityAccount(trial=own),
            number=number,
        )

    @property
    def pack_count(self) -> int:
        """Number of packs ever bought for it; it never falls."""
        held = sum(len(one.open) + len(one.spent) + len(one.closed) for one in (self.quick, self.realtime))
        return held + self.removed_packs

    @property
    def capabilities(self) -> dict[Capability, CapabilityAccount]:
        """Its capabilities by name."""
        return {"quick": self.quick, "realtime": self.realtime}

    @property
    def trials(self) -> dict[Capability | Literal[""], int]:
        """Calls left of the shared trial quota, under the empty name, and of each capability's own."""
        return {"": self.trial, "quick": self.quick.trial, "realtime": self.realtime.trial}

    def add_early_refund(self, request: EarlyRefund) -> None:
        """Let a refund wait for its purchase, in place of a later one of the same kind."""
        kept = (
            each
            for each in self.early_refunds
            if (each.pack_id, each.by_platform) != (request.pack_id, request.by_platform)
        )
        self.early_refunds = (*kept, request)

    @property
    def trials_used_before(self) -> int:
        """Calls of all its trial quotas that were used before this log."""
        return self.trial_used_before + self.quick.trial_used_before + self.realtime.trial_used_before

    def take_early_refunds(self, pack: Pack) -> list[EarlyRefund]:
        """Remove and return the refunds that wait for the purchase of a pack, in the order of their times."""
        found = [
            each
            for each in self.early_refunds
            if each.pack_id == pack.pack_id and pack.was_here(each.time_ms)
        ]
        if found:
            self.early_refunds = tuple(each for each in self.early_refunds if each not in found)
        left = self.leaving(pack)
        if left is not None:
            found.append(left)
        return sorted(found, key=lambda each: (each.time_ms, each.by_platform))

    def leaving(self, pack: Pack) -> EarlyRefund | None:
        """The migration of a pack: of one that was there before its app left, and had not expired."""
        left = self.migration
        if left is None or not pack.leaves_at(left.time_ms):
            return None
        return structs.replace(left, pack_id=pack.pack_id)

    def take_early_observation(self, pack_id: str) -> EarlyObservation | None:
        """Remove and return the platform's count that waits for the purchase of a pack."""
        found = next((each for each in self.early_observations if each.pack_id == pack_id), None)
        if found is not None:
            self.early_observations = tuple(each for each in self.early_observations if each is not found)
        return found

    def is_past(self, time_ms: int) -> bool:
        """Return whether an event is so far behind the clock that it alerts nobody.

        What the past fired would not be sent, and not be told again.
        """
        return self.clock_ms - time_ms > ALERT_AGE_MAX_MS

    def trial_left(self, capability_account: CapabilityAccount) -> int:
        """Calls left of the trial quota of a capability: the shared one or its own."""
        return self.trial + capability_account.trial

    def balance(self, capability_account: CapabilityAccount) -> int:
        """Calls left of a capability: of its trial quota and its active packs (rule 13)."""
        return self.trial + capability_account.trial + capability_account.active_remaining

    def copy(self) -> "Account":
        """An independent copy."""
        copied: Account = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        copied.quick = self.quick.copy()
        copied.realtime = self.realtime.copy()
        return copied


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Account)
_several_decoder = msgspec.msgpack.Decoder(list[Account])


def encode_account(account: Account) -> bytes:
    """The stored form of an account."""
    return _encoder.encode(account)


def decode_account(stored: bytes) -> Account:
    """Read an account back."""
    return _decoder.decode(stored)


def encode_accounts(accounts: list[Account]) -> bytes:
    """The stored form of several accounts."""
    return _encoder.encode(accounts)


def decode_accounts(stored: bytes) -> list[Account]:
    """Read several accounts back."""
    return _several_decoder.decode(stored)
