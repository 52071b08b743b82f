"""The account: all that the rules know of one app, as plain values to be copied, stored and compared.

Nothing in an account refers back to it, so the garbage collector need not look at any of it (`gc=False`):
with a hundred thousand apps, looking for cycles among them costs more than metering their calls.
"""

from typing import Final

import msgspec
from msgspec import Struct

from metering.burn import Burn
from metering.events import CAPABILITIES, Capability
from metering.packs import ClosedPack, Ending, Pack
from metering.rules import BURN_CLIENT_CALLS, BURN_MINUTE_CALLS, BURN_PERCENT, Rules

NEVER_MS: Final = 2**62
"""Later than any time: nothing is due."""

TRIAL_OF_ACCOUNT: Final = "account"


class Use(Struct, array_like=True, gc=False):
    """One capability of an app: its packs, what they hold, and which alerts have been given.

    Attributes:
        open: packs that hold calls and have not lapsed, in burn order; pending and late ones included.
        spent: exhausted packs whose expiry has not come.
        closed: packs that ended, in the order in which they did.
        remaining: calls left of every pack ever bought, by pack id.
        active_size, active_remaining: size and remainder of the packs valid on the app's clock, which is
            what balance levels are measured against.
        armed, fired: balance levels (percent) that will alert, and that have and wait for a top-up.
        alarm_at: the remainder at which the next armed level fires; -1 if none is armed.
        calls_by_day: calls charged per Shanghai day, for the last days only.
        first_day: Shanghai day of the first charged call; 0 before it.
        newest_day: newest Shanghai day on which a call was charged.
        run_out_fired: whether the run-out alert was given and waits for a top-up.
        uncovered_fired: whether the alert of uncovered calls was given and waits for a top-up.
        burn: how fast calls are taken; None before the first.
    """

    open: tuple[Pack, ...] = ()
    spent: tuple[Pack, ...] = ()
    closed: tuple[ClosedPack, ...] = ()
    remaining: dict[str, int] = {}
    active_size: int = 0
    active_remaining: int = 0
    armed: tuple[int, ...] = ()
    fired: tuple[int, ...] = ()
    alarm_at: int = -1
    calls_by_day: dict[int, int] = {}
    first_day: int = 0
    newest_day: int = 0
    run_out_fired: bool = False
    uncovered_fired: bool = False
    burn: Burn | None = None

    def copy(self) -> "Use":
        """An independent copy; only the counts by pack, by day and of the burn are ever changed in place."""
        fresh: Use = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        fresh.remaining = self.remaining.copy()
        fresh.calls_by_day = self.calls_by_day.copy()
        burn = self.burn
        if burn is not None:
            fresh.burn = burn.__copy__()  # type: ignore[attr-defined] # see above
            fresh.burn.clients = burn.clients.copy()
        return fresh

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

    Attributes:
        appid: the app.
        clock_ms: up to when its time has been worked through: the newest of its own events and ticks.
        due_ms: when time alone next does something to it (a pack starts, nears expiry, expires, lapses).
        trial: calls left of the trial quota, under `account` or per capability.
        uses: its capabilities.
        exempt: counted, never charged (rule 9).
        alerting: its thresholds; None for the defaults.
        name, entity_type, category: as registered.
    """

    appid: str
    clock_ms: int
    due_ms: int
    trial: dict[str, int]
    uses: dict[Capability, Use]
    exempt: bool = False
    alerting: Alerting | None = None
    name: str = ""
    entity_type: str = ""
    category: str = ""

    @staticmethod
    def new(appid: str, rules: Rules) -> "Account":
        """An app seen for the first time, with its trial quota untouched."""
        trial = dict.fromkeys(trial_quotas(rules), rules.trial_calls)
        return Account(appid, 0, NEVER_MS, trial, {capability: Use() for capability in CAPABILITIES})

    def copy(self) -> "Account":
        """An independent copy."""
        fresh: Account = self.__copy__()  # type: ignore[attr-defined] # all structs have it; the stubs leave it out
        fresh.trial = self.trial.copy()
        fresh.uses = {capability: use.copy() for capability, use in self.uses.items()}
        return fresh


def trial_quotas(rules: Rules) -> tuple[str, ...]:
    """The names under which an account keeps its trial quota (rule 4)."""
    return (TRIAL_OF_ACCOUNT,) if rules.trial_scope == "account" else CAPABILITIES


def trial_quota(capability: Capability, rules: Rules) -> str:
    """The name of the trial quota that a call of this capability uses."""
    return TRIAL_OF_ACCOUNT if rules.trial_scope == "account" else capability


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Account)


def encode_account(account: Account) -> bytes:
    """The stored form of an account."""
    return _encoder.encode(account)


def decode_account(stored: bytes) -> Account:
    """Read an account back."""
    return _decoder.decode(stored)
