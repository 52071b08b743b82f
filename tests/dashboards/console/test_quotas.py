"""Quotas of a capability: the parts add up to the total, and what will lapse has its price."""

from dashboards.console.quotas import Quota, quota_of
from dashboards.reads.outlooks import HeldQuota
from dashboards.reads.packs import BoughtPack, PackStatus
from metering.times import DAY_MS, format_time

NOW_MS = 1_719_800_000_000


def pack(
    pack_id: str,
    status: PackStatus,
    remaining: int,
    *,
    days_left: float = 30,
    **counts: int,
) -> BoughtPack:
    counted = {"used_before": 0, "charged": 0, "lapsed": 0, "refunded": 0, **counts}
    return BoughtPack(
        pack_id=pack_id,
        status=status,
        burns=None,
        calls=remaining + sum(counted.values()),
        remaining=remaining,
        starts_at=format_time(NOW_MS - DAY_MS),
        expires_at=format_time(NOW_MS + round(days_left * DAY_MS)),
        amount_micro_yuan=0,
        capability="quick",
        order_id="",
        validity_days=90,
        price_micro_yuan=7_500_000,
        paid_at=format_time(NOW_MS),
        **counted,
    )


def quota(*packs: BoughtPack, lapsing: dict[str, int] | None = None) -> Quota:
    """The quota of an app with these packs, and 400 calls of its trial quota left."""

    def of(status: PackStatus) -> int:
        return sum(one.remaining for one in packs if one.status == status)

    held = HeldQuota(
        appid="wx1",
        name="",
        exempt=False,
        changes_from=None,
        migrated_to="",
        migrated_from=[],
        capability="quick",
        calls_left=400 + of("active"),
        trial_size=1_000,
        trial_remaining=400,
        trial_shared=True,
        packs_pending=of("pending"),
        packs_expired=of("expired"),
        next_expires_at=None,
    )
    return quota_of(held, packs, lapsing or {}, NOW_MS)


def test_used_left_pending_expired_and_lapsed_calls_are_the_total() -> None:
    found = quota(
        pack("p1", "lapsed", 0, charged=200, lapsed=50),
        pack("p2", "expired", 20, charged=220, used_before=10),
        pack("p3", "refunded", 0, refunded=250),
        pack("p4", "active", 150, charged=100),
        pack("p5", "pending", 250),
    )
    assert found.total == 1_000 + 4 * 250
    assert (found.used, found.left, found.pending) == (600 + 200 + 230 + 100, 400 + 150, 250)
    assert found.total == found.used + found.left + found.pending + found.expired + found.lapsed


def test_packs_that_hold_calls_are_in_the_order_of_use_and_the_others_the_newest_first() -> None:
    found = quota(
        pack("p1", "lapsed", 0, lapsed=250),
        pack("p2", "exhausted", 0, charged=250),
        pack("p3", "active", 10),
        pack("p4", "pending", 250),
    )
    assert [one.pack.pack_id for one in found.open_packs] == ["p3", "p4"]
    assert [one.pack.pack_id for one in found.ended_packs] == ["p2", "p1"]


def test_what_will_lapse_costs_what_the_last_calls_of_the_pack_cost() -> None:
    (shown,) = quota(pack("p1", "active", 100, charged=150), lapsing={"p1": 40}).open_packs
    assert (shown.lapsing, shown.lapsing_micro_yuan) == (40, 40 * 30_000)
    assert (shown.left_percent, shown.lapsing_percent) == (24.0, 16.0)
    (spared,) = quota(pack("p1", "active", 100, charged=150)).open_packs
    assert (spared.lapsing_micro_yuan, spared.left_percent, spared.lapsing_percent) == (0, 40.0, 0.0)


def test_the_days_that_are_left_are_rounded_up_and_none_are_left_at_the_expiry() -> None:
    days = [
        quota(pack("p1", "active", 1, days_left=left)).open_packs[0].days_left
        for left in (0, 0.1, 1, 1.01, 30)
    ]
    assert days == [0, 1, 1, 2, 30]
