"""One app at WeChat: its quotas are read, and what is new becomes events."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from metering.events import Capability
from metering.times import DAY_MS, HOUR_MS
from producers.errors import RefusedError
from producers.events import CloudEvent
from producers.wechat.api import WechatApi
from producers.wechat.apps import PriceKey, WechatApp
from producers.wechat.errors import LedgerUnavailableError
from producers.wechat.facts import WechatQuota, observation_event, price_of, purchase_event, quotas_of
from producers.wechat.matching import KnownPack, match
from producers.wechat.metrics import Fact, Metrics
from producers.wechat.pack_notes import PackNotes
from producers.wechat.publisher import Publish
from producers.wechat.tokens import TokenSource
from producers.wechat.usage import read_usage

log = logging.getLogger(__name__)

AGAIN_MS: Final = HOUR_MS
"""Time after which a count is told again although it has not changed."""

PAST_MS: Final = DAY_MS
"""Time after its end from which on a pack is history: one that the ledger lacks is not recorded any more."""

LedgerPacks = Callable[[str], Sequence[KnownPack]]
"""Reads the packs that the ledger has of an app, whatever became of them. Blocking.

Raises:
    LedgerUnavailableError: they can't be read now.
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The parts that the readings of all apps share; `spus` are WeChat's numbers of the capabilities."""

    api: WechatApi
    spus: Mapping[Capability, str]
    prices: Mapping[PriceKey, int]
    ledger_packs: LedgerPacks
    publish: Publish
    metrics: Metrics
    now_ms: Callable[[], int]
    notes: PackNotes


class AppReading:
    """Readings of one app, with what the ones before have told."""

    def __init__(self, app: WechatApp, tokens: TokenSource, surroundings: Surroundings) -> None:
        self._app = app
        self._tokens = tokens
        self._around = surroundings
        self._names: dict[str, str] = {}
        self._recorded: dict[str, KnownPack] = {}
        self._compared_ms: int | None = None
        self._told: dict[tuple[Capability, str], tuple[int, int, int]] = {}
        self._refused: set[str] = set()

    async def read(self) -> None:
        """Read the app's quotas, and publish new packs and counts.

        Raises:
            WechatError: WeChat did not answer as asked.
            LedgerUnavailableError: there are packs that the ledger may or may not have.
            DeliveryError: Kafka did not confirm an event; the next reading publishes it again.
        """
        quotas: list[WechatQuota] = []
        for capability in self._app.capabilities:
            rows = await read_usage(self._around.api, self._tokens, self._around.spus[capability])
            quotas += quotas_of(rows, capability)
        now_ms = self._around.now_ms()
        await self._compare(quotas, now_ms)
        # After the purchases: a count of a pack that nobody has heard of yet would say nothing.
        await self._record_counts([quota for quota in quotas if not self._is_unnamed(quota)], now_ms)

    def _is_unnamed(self, quota: WechatQuota) -> bool:
        return bool(quota.pack_id) and quota.pack_id not in self._names

    def _is_unknown(self, quota: WechatQuota, now_ms: int) -> bool:
        return (
            self._is_unnamed(quota)
            and quota.pack_id not in self._refused
            and quota.ends_at_ms > now_ms - PAST_MS
        )

    async def _compare(self, quotas: Sequence[WechatQuota], now_ms: int) -> None:
        """Compare WeChat's packs with the ledger's when there is a new one, and once an hour."""
        has_new = any(self._is_unknown(quota, now_ms) for quota in quotas)
        if not has_new and self._compared_ms is not None and now_ms - self._compared_ms < AGAIN_MS:
            return
        try:
            await self._record_packs(quotas, now_ms)
        except LedgerUnavailableError:
            # Without a new pack it can wait: only what the ledger has besides is looked for.
            if has_new:
                raise
        else:
            self._compared_ms = now_ms

    async def _record_packs(self, quotas: Sequence[WechatQuota], now_ms: int) -> None:
        known = {
            pack.pack_id: pack for pack in await asyncio.to_thread(self._around.ledger_packs, self._app.appid)
        }
        # What this process has recorded may not be stored yet.
        matches = match(quotas, [*(self._recorded | known).values()])
        self._names.update(matches.names)
        self._around.notes.note(self._app.appid, matches.names, matches.unmatched)
        for quota in matches.new:
            if self._is_unknown(quota, now_ms):
                await self._record_pack(quota, now_ms)

    async def _record_pack(self, quota: WechatQuota, now_ms: int) -> None:
        appid, prices = self._app.appid, self._around.prices
        price, basis = price_of(quota, prices)
        try:
            await self._publish("purchase", purchase_event(appid, quota, prices, now_ms))
        except RefusedError as error:
            self._refused.add(quota.pack_id)
            log.warning("WeChat's pack %s of %s can't be recorded: %s", quota.pack_id, appid, error)
            return
        self._names[quota.pack_id] = quota.pack_id
        self._recorded[quota.pack_id] = KnownPack(
            quota.pack_id,
            quota.order_id,
            quota.capability,
            quota.size,
            quota.days,
            quota.starts_at_ms,
            is_open=True,
        )
        log.info(
            "Recorded pack %s of %s from WeChat: %d calls, %d days, %s.",
            quota.pack_id,
            appid,
            quota.size,
            quota.days,
            f"{price} micro-yuan by the catalogue" if basis == "catalogue" else "price unknown",
        )
        if basis == "unknown":
            self._around.metrics.unpriced_packs.inc()
        if not quota.has_whole_days:
            log.warning(
                "WeChat's pack %s of %s is not valid for whole days; it is recorded with %d days.",
                quota.pack_id,
                appid,
                quota.days,
            )

    async def _record_counts(self, quotas: Sequence[WechatQuota], now_ms: int) -> None:
        appid = self._app.appid
        due = [quota for quota in quotas if self._is_due(quota, now_ms)]
        events = []
        for quota in due:
            name = self._names.get(quota.pack_id, quota.pack_id)
            try:
                events.append(observation_event(appid, quota, name, now_ms))
            except RefusedError as error:
                log.warning("WeChat's count of a quota of %s can't be recorded: %s", appid, error)
        if events:
            await self._publish("observation", *events)
        for quota in due:
            self._told[quota.capability, quota.pack_id] = (quota.used, quota.size, now_ms)

    def _is_due(self, quota: WechatQuota, now_ms: int) -> bool:
        """Return whether a count has changed, or was told long ago."""
        used, size, told_ms = self._told.get((quota.capability, quota.pack_id), (-1, -1, 0))
        if (used, size) != (quota.used, quota.size):
            return True
        has_ended = bool(quota.pack_id) and quota.ends_at_ms <= now_ms - PAST_MS
        return not has_ended and now_ms - told_ms >= AGAIN_MS

    async def _publish(self, fact: Fact, *events: CloudEvent) -> None:
        await self._around.publish(events)
        self._around.metrics.facts.labels(fact).inc(len(events))
