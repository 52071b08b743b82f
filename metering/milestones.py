"""Milestones as time passes: start, near expiry, expiry and lapse of packs, recovery from refusals.

Rules 6, 8, 13 and 18.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from metering import alert_rules, refusals
from metering.accounts import NEVER_MS, Account
from metering.events import Capability
from metering.journal import Journal
from metering.packs import Pack
from metering.rules import Rules
from metering.times import DAY_MS


class Milestone(NamedTuple):
    """A moment at which an account changes without an event; sorts by moment, then by rank.

    `pack` is None where a refusal recovers.
    """

    moment_ms: int
    rank: int
    capability: Capability
    pack: Pack | None = None
    days: int = 0


STARTS: Final = 0
NEARS_EXPIRY: Final = 1
EXPIRES: Final = 2
LAPSES: Final = 3
RECOVERS: Final = 4


def advance(account: Account, now_ms: int, journal: Journal, rules: Rules) -> None:
    """Advance an account's clock to `now_ms`, handling the milestones on the way in their order."""
    if now_ms <= account.clock_ms:
        return
    if now_ms >= account.due_ms:
        due = sorted(
            milestone
            for milestone in _milestones(account, rules)
            if account.clock_ms < milestone.moment_ms <= now_ms
        )
        for milestone in due:
            _reach(account, milestone, journal, rules)
        account.clock_ms = now_ms
        schedule(account, rules)
    account.clock_ms = now_ms


def schedule(account: Account, rules: Rules) -> None:
    """Update the time of the account's next milestone."""
    account.due_ms = _next(account.clock_ms, _milestones(account, rules))


def schedule_pack(account: Account, capability: Capability, pack: Pack, rules: Rules) -> None:
    """Update the time of the account's next milestone for a pack that was just added."""
    due_ms = _next(account.clock_ms, _milestones_of(account, capability, pack, rules))
    account.due_ms = min(account.due_ms, due_ms)


def lapse(account: Account, capability: Capability, pack: Pack, journal: Journal) -> None:
    """Write off the calls left in a pack; the entry has the time of the expiry."""
    capability_account = account.capabilities[capability]
    left, pack.remaining = pack.remaining, 0
    capability_account.close(pack, "lapsed", left)
    capability_account.turn(pack.expires_at_ms - 1)
    journal.add(
        "lapse",
        pack.expires_at_ms,
        account.appid,
        capability,
        calls=left,
        amount_micro_yuan=pack.price_micro_yuan - pack.cost(pack.calls - left),
        pack_id=pack.pack_id,
    )


def _next(now_ms: int, milestones: Iterable[Milestone]) -> int:
    return min((each.moment_ms for each in milestones if each.moment_ms > now_ms), default=NEVER_MS)


def _milestones(account: Account, rules: Rules) -> Iterator[Milestone]:
    for capability, capability_account in account.capabilities.items():
        for pack in capability_account.open:
            yield from _milestones_of(account, capability, pack, rules)
        for pack in capability_account.spent:
            yield Milestone(pack.expires_at_ms, EXPIRES, capability, pack)
        if capability_account.recovers_ms >= 0:
            yield Milestone(capability_account.recovers_ms, RECOVERS, capability)


def _milestones_of(account: Account, capability: Capability, pack: Pack, rules: Rules) -> Iterator[Milestone]:
    yield Milestone(pack.starts_at_ms, STARTS, capability, pack)
    own = account.thresholds
    for days in rules.alert_expiry_days if own is None else own.expiry_days:
        yield Milestone(pack.expires_at_ms - days * DAY_MS, NEARS_EXPIRY, capability, pack, days)
    yield Milestone(pack.expires_at_ms, EXPIRES, capability, pack)
    yield Milestone(pack.lapses_at_ms(rules), LAPSES, capability, pack)


def _reach(account: Account, milestone: Milestone, journal: Journal, rules: Rules) -> None:
    moment_ms, rank, capability, pack, days = milestone
    if pack is None:
        refusals.end_by_quiet(account, capability, moment_ms, journal)
    elif rank == STARTS:
        _start(account, capability, pack, journal, rules)
    elif rank == NEARS_EXPIRY:
        _warn_of_expiry(account, capability, pack, days, journal)
    elif rank == EXPIRES:
        _expire(account, capability, pack, journal, rules)
    else:
        lapse(account, capability, pack, journal)


def _start(account: Account, capability: Capability, pack: Pack, journal: Journal, rules: Rules) -> None:
    capability_account, now_ms = account.capabilities[capability], pack.starts_at_ms
    capability_account.active_size += pack.calls
    capability_account.active_remaining += pack.remaining
    alert_rules.check_recovery(account, capability, now_ms, journal, rules)
    refusals.end_by_pack(account, capability, now_ms, now_ms, journal)


def _warn_of_expiry(
    account: Account, capability: Capability, pack: Pack, days: int, journal: Journal
) -> None:
    now_ms = pack.expires_at_ms - days * DAY_MS
    if now_ms < pack.starts_at_ms:
        return
    journal.add_alert(
        account,
        capability,
        recovered=False,
        reason="expiry",
        time_ms=now_ms,
        pack_id=pack.pack_id,
        remaining=pack.remaining,
        days=days,
        expires_at_ms=pack.expires_at_ms,
    )


def _expire(account: Account, capability: Capability, pack: Pack, journal: Journal, rules: Rules) -> None:
    capability_account = account.capabilities[capability]
    if pack.remaining == 0:
        capability_account.close(pack, "exhausted")
        return
    capability_account.active_size -= pack.calls
    capability_account.active_remaining -= pack.remaining
    alert_rules.check_levels(account, capability, pack.expires_at_ms, journal, rules)
