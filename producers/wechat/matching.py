"""WeChat's packs and the ledger's: which are the same, so that no pack is recorded twice. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from metering.events import Capability
from metering.times import DAY_MS
from producers.wechat.facts import WechatQuota

APART_MS_MAX: Final = DAY_MS
"""The most by which the start of a pack that was recorded by hand may differ from WeChat's."""


class KnownPack(NamedTuple):
    """A pack that the ledger has."""

    pack_id: str
    order_id: str
    capability: Capability
    calls: int
    validity_days: int
    starts_at_ms: int
    is_open: bool
    """True until it has expired or was given back."""


class PackMatches(NamedTuple):
    """The result of a comparison.

    Attributes:
        names: by WeChat's name of a pack, the ledger's name of it.
        new: packs that the ledger does not have.
        unmatched: the ledger's open packs that WeChat does not have, of the capabilities that were read.
    """

    names: dict[str, str]
    new: list[WechatQuota]
    unmatched: list[KnownPack]


def match(quotas: Sequence[WechatQuota], known: Sequence[KnownPack]) -> PackMatches:
    """Pair WeChat's packs with the ledger's, each at most once.

    The same name is the same pack. Of the others, the same order is; then capability, size and days that are
    the same with starts at most a day apart, the nearest first.
    """
    packs = {quota.pack_id: quota for quota in quotas if quota.pack_id}
    by_name = {pack.pack_id for pack in known} & packs.keys()
    names = {name: name for name in by_name}
    left = [quota for name, quota in packs.items() if name not in by_name]
    free = [pack for pack in known if pack.pack_id not in by_name]
    candidates = sorted(
        (_distance(quota, pack), quota.pack_id, pack.pack_id)
        for quota in left
        for pack in free
        if _may_be(quota, pack)
    )
    taken: set[str] = set()
    for _, quota_name, pack_name in candidates:
        if quota_name not in names and pack_name not in taken:
            names[quota_name] = pack_name
            taken.add(pack_name)
    capabilities = {quota.capability for quota in quotas}
    return PackMatches(
        names,
        [quota for quota in left if quota.pack_id not in names],
        [
            pack
            for pack in free
            if pack.is_open and pack.pack_id not in taken and pack.capability in capabilities
        ],
    )


def _may_be(quota: WechatQuota, pack: KnownPack) -> bool:
    if quota.order_id and pack.order_id:
        return quota.order_id == pack.order_id
    return (quota.capability, quota.size, quota.days) == (
        pack.capability,
        pack.calls,
        pack.validity_days,
    ) and abs(quota.starts_at_ms - pack.starts_at_ms) <= APART_MS_MAX


def _distance(quota: WechatQuota, pack: KnownPack) -> int:
    same_order = bool(quota.order_id) and quota.order_id == pack.order_id
    return -1 if same_order else abs(quota.starts_at_ms - pack.starts_at_ms)
