"""The account: all that the rules know of one app, as plain values to be copied, stored and compared.

Nothing in an account refers back to it, so the garbage collector need not look at any of it (`gc=False`):
with a hundred thousand apps, looking for cycles among them costs more than metering their calls.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from metering.burn import Burn
from metering.events import Capability
from metering.packs import ClosedPack, Ending, Pack
from metering.rules import BURN_CLIENT_CALLS, BURN_MINUTE_CALLS, BURN_PERCENT, Rules

NEVER_MS: Final = 2**62
"""Later than any time: nothing is due."""

USE_DAYS: Final = 7
"""Complete Shanghai days before the newest one whose calls are kept: their mean forecasts a day's use."""


class Use(Struct, array_like=True, gc=False):
    """One capability of an app: its packs, what they hold, and which alerts have been given.

    What every call needs comes first, so that it lies together in memory.

    Attributes:
        open: packs that hold calls and have not lapsed, in burn order; pending and late ones included.
        active_remaining: what is left in the packs valid on the app's clock: the balance.
        alarm_at: the remainder at which the next armed level fires; -1 if none is armed.
        newest_day: newest Shanghai day on which a call was charged; 0 before the first.
        calls_today: calls charged on that day.
        trial: calls left of its own trial quota (rule 4).
        burn: how fast calls are taken; None before the first.
        calls_before: calls charged on each of the `USE_DAYS` before the newest day, newest first; fewer while
            the first charged call is nearer.
        spent: exhausted packs whose expiry has not come.
        closed: packs that ended, in the order in which they did.
        active_size: the size of the packs valid on the app's clock, which balance levels are per cent of.
        armed, fired: balance levels (percent) that will alert, and that have and wait for a top-up.
        run_out_fired: whether the run-out alert was given and waits for a top-up.
        uncovered_fired: whether the alert of uncovered calls was given and waits for a top-up.
    """

    open: tuple[Pack, ...] = ()
    active_remaining: int = 0
    alarm_at: int = -1
    newest_day: int = 0
    calls_today: int = 0
    trial: int = 0
    burn: Burn | None = None
    calls_before: tuple[int, ...] = ()
    spent: tuple[Pack, ...] = ()
    closed: tuple[ClosedPack, ...] = ()
    active_size: int = 0
    armed: tuple[int, ...] = ()
    fired: tuple[int, ...] = ()
    run_out_fired: bool = False
    uncovered_fired: bool = False

    def copy(self) -> "Use":
        """An independent copy; of what it consists of, only open packs and the burn are changed in place."""
        fresh: Use = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        fresh.open = tuple(pack.copy() for pack in self.open)
        burn = self.burn
        if burn is not None:
            fresh.burn = burn.__copy__()  # type: ignore[attr-defined] # see above
            fresh.burn.clients = burn.clients.copy()
        return fresh

    @property
    def packs(self) -> tuple[Pack, ...]:
        """Every pack ever bought."""
        return (*self.open, *self.spent, *(closed.pack for closed in self.closed))

    def begin_day(self, day: int) -> None:
        """Go on to a later Shanghai day."""
        if self.newest_day:
            idle = (0,) * min(day - self.newest_day - 1, USE_DAYS)
            self.calls_before = (*idle, self.calls_today, *self.calls_before)[:USE_DAYS]
        self.newest_day, self.calls_today = day, 0

    def count_on(self, day: int) -> None:
        """Count a charged call on the newest day, or on one of those before it that are kept."""
        back = self.newest_day - day
        if back == 0:
            self.calls_today += 1
        elif back <= len(self.calls_before):
            days = list(self.calls_before)
            days[back - 1] += 1
            self.calls_before = tuple(days)

    def add_open(self, pack: Pack) -> None:
        """Take a new pack into the burn order."""
        self.open = tuple(sorted((*self.open, pack)))

    def close(self, pack: Pack, how: Ending, lapsed: int = 0) -> None:
        """Move an open or spent pack to those that ended."""
        self.open = without(self.open, pack)
        self.spent = without(self.spent, pack)
        self.closed = (*self.closed, ClosedPack(pack, how, lapsed))

    def spend(self, pack: Pack) -> None:
        """Set aside an open pack that holds nothing any more but has not expired."""
        self.open = without(self.open, pack)
        self.spent = (*self.spent, pack)


def without(packs: tuple[Pack, ...], pack: Pack) -> tuple[Pack, ...]:
    """The packs but one."""
    return tuple(other for other in packs if other is not pack and other != pack)


class Alerting(Struct, frozen=True, array_like=True, gc=False):
    """The alert thresholds that hold for one app."""

    levels_percent: tuple[int, ...]
    expiry_days: tuple[int, ...]
    run_out_lead_days: int
    burn_minute_calls: int = BURN_MINUTE_CALLS
    burn_client_calls: int = BURN_CLIENT_CALLS
    burn_percent: int = BURN_PERCENT

    @staticmethod
    def default(rules: Rules) -> "Alerting":
        """What holds where the owner has set nothing."""
        return Alerting(
            rules.alert_levels_percent,
            rules.alert_expiry_days,
            rules.run_out_lead_days,
            rules.burn_minute_calls,
            rules.burn_client_calls,
            rules.burn_percent,
        )


class Account(Struct, array_like=True, gc=False):
    """One app.

    It is made of few objects, because with many apps reaching each object costs more than what is done to it.

    Attributes:
        appid: the app.
        clock_ms: up to when its time has been worked through: the newest of its own events and ticks.
        due_ms: when time alone next does something to it (a pack starts, nears expiry, expires, lapses).
        trial: calls left of the trial quota that all capabilities share (rule 4).
        quick, realtime: its capabilities, each under its name.
        exempt: counted, never charged (rule 9).
        alerting: its thresholds; None for the defaults.
        name, entity_type, category: as registered.
        number: how many apps its partition knew before it.
    """

    appid: str
    clock_ms: int
    due_ms: int
    trial: int
    quick: Use
    realtime: Use
    exempt: bool = False
    alerting: Alerting | None = None
    name: str = ""
    entity_type: str = ""
    category: str = ""
    number: int = 0

    @staticmethod
    def new(appid: str, rules: Rules, number: int = 0) -> "Account":
        """An app seen for the first time, with its trial quota untouched."""
        shared = rules.trial_calls if rules.trial_scope == "account" else 0
        own = rules.trial_calls - shared
        return Account(appid, 0, NEVER_MS, shared, Use(trial=own), Use(trial=own), number=number)

    @property
    def pack_count(self) -> int:
        """How many packs were ever bought for it; it never falls."""
        return sum(len(use.open) + len(use.spent) + len(use.closed) for use in (self.quick, self.realtime))

    @property
    def uses(self) -> dict[Capability, Use]:
        """Its capabilities by name."""
        return {"quick": self.quick, "realtime": self.realtime}

    @property
    def trials(self) -> dict[Capability | Literal[""], int]:
        """Calls left of its trial quotas: of the shared one under the empty name, and of each one's own."""
        return {"": self.trial, **{capability: use.trial for capability, use in self.uses.items()}}

    def trial_of(self, use: Use) -> int:
        """Calls left of the trial quota that a capability uses: there is either a shared one or its own."""
        return self.trial + use.trial

    def copy(self) -> "Account":
        """An independent copy."""
        fresh: Account = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        fresh.quick = self.quick.copy()
        fresh.realtime = self.realtime.copy()
        return fresh


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
