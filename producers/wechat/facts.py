"""WeChat's rows and pushes as events, pure: the same row gives the same event."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from metering.events import Capability, PriceBasis
from metering.times import DAY_MS, EARLIEST_MS, SECOND_MS, format_time, from_ms
from producers.events import CloudEvent, cloud_event, named_id, pack_purchased, usage_observed
from producers.wechat.answers import QuotaRow
from producers.wechat.apps import PriceKey

USAGE_SOURCE: Final = "/wechat/usage"
PUSH_SOURCE: Final = "/wechat/push"
ENDLESS_S: Final = 4_294_967_295
"""The end of a quota without one."""


class WechatQuota(NamedTuple):
    """One quota at WeChat: a pack, or the trial quota, whose `pack_id` is empty."""

    capability: Capability
    pack_id: str
    order_id: str
    used: int
    size: int
    starts_at_ms: int
    ends_at_ms: int

    @property
    def days(self) -> int:
        """Its validity in days: WeChat's packs are valid for whole ones."""
        return max(1, round((self.ends_at_ms - self.starts_at_ms) / DAY_MS))

    @property
    def has_whole_days(self) -> bool:
        """True if the days are exactly its validity."""
        return self.ends_at_ms - self.starts_at_ms == self.days * DAY_MS


def quota_of(row: QuotaRow, capability: Capability) -> WechatQuota:
    """The quota of a row."""
    return WechatQuota(
        capability,
        row.pkg_id or "",
        row.order_id or "",
        row.used,
        row.size,
        row.start_time * SECOND_MS,
        row.end_time * SECOND_MS,
    )


def quotas_of(rows: Iterable[QuotaRow], capability: Capability) -> list[WechatQuota]:
    """The quotas of all rows. Rows without the id of a pack are one trial quota together."""
    quotas = [quota_of(row, capability) for row in rows]
    packs = [quota for quota in quotas if quota.pack_id]
    trial = [quota for quota in quotas if not quota.pack_id]
    if not trial:
        return packs
    used, size = sum(quota.used for quota in trial), sum(quota.size for quota in trial)
    return [trial[0]._replace(used=used, size=size), *packs]


def price_of(quota: WechatQuota, prices: Mapping[PriceKey, int]) -> tuple[int, PriceBasis]:
    """The price of a pack and where it is from: WeChat does not tell it. An unknown one is 0."""
    found = prices.get((quota.capability, quota.size, quota.days))
    return (0, "unknown") if found is None else (found, "catalogue")


def purchase_event(appid: str, quota: WechatQuota, prices: Mapping[PriceKey, int], now_ms: int) -> CloudEvent:
    """The purchase of a pack at WeChat. Its id is that of `pack_purchased`, whoever records the pack.

    Raises:
        RefusedError: the metering would not accept it.
    """
    price, basis = price_of(quota, prices)
    # WeChat does not tell when a pack was paid; one that is yet to start was paid by now.
    paid_at_ms = max(min(quota.starts_at_ms, now_ms), EARLIEST_MS)
    return pack_purchased(
        appid=appid,
        pack_id=quota.pack_id,
        capability=quota.capability,
        calls=quota.size,
        validity_days=quota.days,
        price_micro_yuan=price,
        price_basis=basis,
        paid_at=from_ms(paid_at_ms),
        order_id=quota.order_id,
        starts_at=from_ms(quota.starts_at_ms),
        time=from_ms(now_ms),
        source=USAGE_SOURCE,
    )


def observation_event(appid: str, quota: WechatQuota, pack_id: str, now_ms: int) -> CloudEvent:
    """The count of a quota, under the name that the ledger has for its pack.

    Raises:
        RefusedError: the metering would not accept it.
    """
    return usage_observed(
        appid=appid,
        capability=quota.capability,
        time=from_ms(now_ms),
        used=quota.used,
        size=quota.size,
        pack_id=pack_id,
        source=USAGE_SOURCE,
    )


def pushed_event(
    appid: str, capability: Capability, used: int, size: int, sent_at_ms: int, now_ms: int
) -> CloudEvent:
    """The count of a capability that a push tells; the same push again is the same event."""
    kind = "platform.usage_observed"
    identifier = named_id(kind, appid, capability, "push", str(sent_at_ms), str(used), str(size))
    # A push that is late, or whose clock is ahead, is about now all the same.
    time_ms = sent_at_ms if now_ms - DAY_MS <= sent_at_ms <= now_ms else now_ms
    data = {"capability": capability, "used": used, "size": size, "covers": "capability"}
    return cloud_event(kind, identifier, appid, format_time(time_ms), source=PUSH_SOURCE, data=data)
