"""Quotas of an app's capability: calls used and left in all, its packs, and what will lapse of them."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from dashboards.console.languages import marked
from dashboards.reads.outlooks import HeldQuota
from dashboards.reads.packs import BoughtPack
from metering.money import cost_of_first
from metering.times import DAY_MS, parse_time

STATUS_NAMES: Final[Mapping[str, str]] = {
    "active": marked("In use"),
    "pending": marked("Not started"),
    "exhausted": marked("Used up"),
    "expired": marked("Expired"),
    "lapsed": marked("Lapsed"),
    "refunded": marked("Refunded"),
}


class ShownPack(NamedTuple):
    """A pack as a bar that burns towards its expiry.

    Attributes:
        pack: with its figures.
        starts_at_ms, expires_at_ms: its validity.
        days_left: until its expiry, rounded up; 0 when it is over.
        lapsing: how many of its calls will lapse at the expected pace.
        lapsing_micro_yuan: what these cost.
    """

    pack: BoughtPack
    starts_at_ms: int
    expires_at_ms: int
    days_left: int
    lapsing: int
    lapsing_micro_yuan: int

    @property
    def used(self) -> int:
        """Calls of it that were used."""
        return self.pack.used_before + self.pack.charged

    @property
    def left_percent(self) -> float:
        """The part of its calls that is left and will be used."""
        return round(100 * (self.pack.remaining - self.lapsing) / self.pack.calls, 2)

    @property
    def lapsing_percent(self) -> float:
        """The part of its calls that will lapse."""
        return round(100 * self.lapsing / self.pack.calls, 2)


class Quota(NamedTuple):
    """All calls of one capability: total = used + left + pending + expired + lapsed.

    Attributes:
        total: trial quota and packs, without what was refunded.
        used: calls that were used, before this log too.
        left: calls that are left to use.
        pending: in packs that are not valid yet.
        expired: in packs that have expired, for late events.
        lapsed: lost with packs that expired.
        trial_left, trial_size: of the trial quota.
        trial_shared: True if the trial quota is one for both capabilities.
        open_packs: those that can be used now or later, in the order in which they are used.
        ended_packs: the others, the newest first.
    """

    total: int
    used: int
    left: int
    pending: int
    expired: int
    lapsed: int
    trial_left: int
    trial_size: int
    trial_shared: bool
    open_packs: list[ShownPack]
    ended_packs: list[ShownPack]


def quota_of(held: HeldQuota, packs: Sequence[BoughtPack], lapsing: Mapping[str, int], now_ms: int) -> Quota:
    """The quota of one capability, from what is held of it and its packs."""
    shown = [_shown(pack, lapsing.get(pack.pack_id, 0), now_ms) for pack in packs]
    is_open = {"active", "pending"}
    return Quota(
        total=held.trial_size + sum(pack.calls - pack.refunded for pack in packs),
        used=held.trial_size - held.trial_remaining + sum(one.used for one in shown),
        left=held.calls_left,
        pending=held.packs_pending,
        expired=held.packs_expired,
        lapsed=sum(pack.lapsed for pack in packs),
        trial_left=held.trial_remaining,
        trial_size=held.trial_size,
        trial_shared=bool(held.trial_shared),
        open_packs=[one for one in shown if one.pack.status in is_open],
        ended_packs=[one for one in reversed(shown) if one.pack.status not in is_open],
    )


def _shown(pack: BoughtPack, lapsing: int, now_ms: int) -> ShownPack:
    expires_at_ms = parse_time(pack.expires_at)
    used = cost_of_first(pack.calls - lapsing, price_micro_yuan=pack.price_micro_yuan, size=pack.calls)
    return ShownPack(
        pack,
        parse_time(pack.starts_at),
        expires_at_ms,
        max(0, -(-(expires_at_ms - now_ms) // DAY_MS)),
        lapsing,
        pack.price_micro_yuan - used,
    )
