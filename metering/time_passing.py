"""Time passing for an account: packs start, near expiry, expire, lapse (DESIGN rules 6, 8 and 13)."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from metering import alerting
from metering.accounts import NEVER_MS, Account, Use
from metering.events import Capability
from metering.lines import Lines
from metering.packs import Pack
from metering.rules import Rules
from metering.times import DAY_MS


class Milestone(NamedTuple):
    """A moment at which time alone does something to a pack; sorts by moment, then by what comes first."""

    moment_ms: int
    rank: int
    capability: Capability
    pack: Pack
    days: int


STARTS: Final = 0
NEARS_EXPIRY: Final = 1
EXPIRES: Final = 2
LAPSES: Final = 3


def advance(account: Account, now_ms: int, lines: Lines, rules: Rules) -> None:
    """Move an account's clock forward to `now_ms`, doing all that falls due on the way, in its order."""
    if now_ms <= account.clock_ms:
        return
    if now_ms >= account.due_ms:
        due = sorted(
            milestone
            for milestone in _milestones(account, rules)
            if account.clock_ms < milestone.moment_ms <= now_ms
        )
        for milestone in due:
            _reach(account, milestone, lines, rules)
        account.clock_ms = now_ms
        schedule(account, rules)
    account.clock_ms = now_ms


def schedule(account: Account, rules: Rules) -> None:
    """Note when time next does something to the account."""
    account.due_ms = _next(account.clock_ms, _milestones(account, rules))


def schedule_pack(account: Account, capability: Capability, pack: Pack, rules: Rules) -> None:
    """Note when time first does something to a pack just added: all others are noted already."""
    due_ms = _next(account.clock_ms, _milestones_of(account, capability, pack, rules))
    account.due_ms = min(account.due_ms, due_ms)


def lapse(account: Account, capability: Capability, pack: Pack, lines: Lines) -> None:
    """Write off what is left of a pack; the entry's time is the expiry, which is when it was lost."""
    use = account.uses[capability]
    left, pack.remaining = pack.remaining, 0
    use.close(pack, "lapsed", left)
    lines.add(
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
    for capability, use in account.uses.items():
        for pack in use.open:
            yield from _milestones_of(account, capability, pack, rules)
        for pack in use.spent:
            yield Milestone(pack.expires_at_ms, EXPIRES, capability, pack, 0)


def _milestones_of(account: Account, capability: Capability, pack: Pack, rules: Rules) -> Iterator[Milestone]:
    yield Milestone(pack.starts_at_ms, STARTS, capability, pack, 0)
    own = account.alerting
    for days in rules.alert_expiry_days if own is None else own.expiry_days:
        yield Milestone(pack.expires_at_ms - days * DAY_MS, NEARS_EXPIRY, capability, pack, days)
    yield Milestone(pack.expires_at_ms, EXPIRES, capability, pack, 0)
    yield Milestone(pack.lapses_at_ms(rules), LAPSES, capability, pack, 0)


def _reach(account: Account, milestone: Milestone, lines: Lines, rules: Rules) -> None:
    use = account.uses[milestone.capability]
    if milestone.rank == STARTS:
        _start(account, milestone, use, lines, rules)
    elif milestone.rank == NEARS_EXPIRY:
        _warn_of_expiry(account, milestone, lines)
    elif milestone.rank == EXPIRES:
        _expire(account, milestone, use, lines)
    else:
        lapse(account, milestone.capability, milestone.pack, lines)


def _start(account: Account, milestone: Milestone, use: Use, lines: Lines, rules: Rules) -> None:
    use.active_size += milestone.pack.calls
    use.active_remaining += milestone.pack.remaining
    alerting.topped_up(account, milestone.capability, milestone.moment_ms, lines, rules)


def _warn_of_expiry(account: Account, milestone: Milestone, lines: Lines) -> None:
    if milestone.moment_ms < milestone.pack.starts_at_ms:
        return
    lines.alert(
        account,
        milestone.capability,
        recovered=False,
        reason="expiry",
        time_ms=milestone.moment_ms,
        pack_id=milestone.pack.pack_id,
        remaining=milestone.pack.remaining,
        days=milestone.days,
        expires_at_ms=milestone.pack.expires_at_ms,
    )


def _expire(account: Account, milestone: Milestone, use: Use, lines: Lines) -> None:
    pack = milestone.pack
    use.active_size -= pack.calls
    use.active_remaining -= pack.remaining
    if pack in use.spent:
        use.close(pack, "exhausted")
    alerting.balance_fell(account, milestone.capability, milestone.moment_ms, lines)
