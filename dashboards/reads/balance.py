"""The balance of an app: trial quota, calls left of each capability, and its packs."""

from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from dashboards.reads.asking import Ask, iso_or_none
from dashboards.reads.clock import read_clock
from dashboards.reads.packs import BoughtPack, PackBalance, read_packs
from metering.times import format_time

_BALANCES: Final = """
SELECT
    capability, calls_left, trial_size, trial_remaining, trial_shared,
    packs_remaining, packs_pending, packs_expired
FROM balances_now WHERE appid = %(appid)s ORDER BY capability
"""

_UNSETTLED: Final = "SELECT toNullable(changes_from) FROM unsettled WHERE appid = %(appid)s"


class CapabilityHolding(Struct, frozen=True):
    """The calls left of one capability: trial quota and active packs together in `calls_left`.

    In addition, calls in packs that are not valid yet, and those that expired packs keep for late events.
    """

    calls_left: int
    trial_remaining: int
    packs_remaining: int
    packs_pending: int
    packs_expired: int
    packs: list[PackBalance]


class AppBalance(Struct, frozen=True, kw_only=True):
    """The balance of an app. A trial quota that is `trial_shared` serves both capabilities.

    It is as of `as_of`: the clock, or the newest entry if the log `runs_on` the events' time. A fact that
    arrived late may still change the figures from `unsettled_from` on.
    """

    appid: str
    as_of: str
    runs_on: Annotated[str, Meta(description="`wall`, or `events` in a past that is played")]
    trial_size: int
    trial_remaining: int
    trial_shared: bool
    unsettled_from: str | None
    capabilities: dict[str, CapabilityHolding]


class FoundBalance(NamedTuple):
    """A balance, and when the clock alone changes it next: None if never."""

    balance: AppBalance
    changes_ms: int | None


def find_balance(ask: Ask, appid: str) -> FoundBalance | None:
    """The balance of an app; None if the ledger has no entry about it."""
    balances = ask(_BALANCES, {"appid": appid})
    if not balances:
        return None
    packs = read_packs(ask, appid)
    clock = read_clock(ask)
    unsettled = ask(_UNSETTLED, {"appid": appid})
    shared = bool(balances[0][4])
    trials = balances[:1] if shared else balances
    found = AppBalance(
        appid=appid,
        as_of=format_time(clock.now_ms),
        runs_on=clock.runs_on,
        trial_size=sum(row[2] for row in trials),
        trial_remaining=sum(row[3] for row in trials),
        trial_shared=shared,
        unsettled_from=iso_or_none(unsettled[0][0]) if unsettled else None,
        capabilities={
            capability: CapabilityHolding(
                left,
                trial,
                active,
                pending,
                expired,
                [_balance_of(pack) for pack in packs.packs if pack.capability == capability],
            )
            for capability, left, _, trial, _, active, pending, expired in balances
        },
    )
    return FoundBalance(found, packs.changes_ms)


def _balance_of(pack: BoughtPack) -> PackBalance:
    return PackBalance(**{name: getattr(pack, name) for name in PackBalance.__struct_fields__})
