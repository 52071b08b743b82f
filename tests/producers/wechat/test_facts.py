"""WeChat's rows as events."""

from datetime import UTC, datetime

import msgspec
import pytest

from metering.events import Purchased, UsageObserved
from metering.packs import Pack
from metering.rules import Rules
from metering.times import DAY_MS, SECOND_MS, to_ms
from producers.errors import RefusedError
from producers.event_check import check
from producers.events import CloudEvent, pack_purchased
from producers.wechat.answers import QuotaRow
from producers.wechat.apps import PriceKey, default_prices
from producers.wechat.facts import (
    WechatQuota,
    observation_event,
    price_of,
    purchase_event,
    pushed_event,
    quota_of,
    quotas_of,
)
from tests.producers.wechat.parts import APP

NOW_MS = to_ms(datetime(2026, 10, 17, 10, tzinfo=UTC))
# The rows of WeChat's documentation.
START_S, END_S = 1_677_914_190, 1_709_450_190


def row(**more: object) -> WechatQuota:
    fields = {"pkgId": "ZY1", "startTime": START_S, "endTime": END_S, "used": "3", "all": "1000", "status": 1}
    return quota_of(msgspec.convert(fields | more, QuotaRow, strict=False), "quick")


def read(event: CloudEvent) -> Purchased | UsageObserved:
    found = check(msgspec.json.encode(event), now_ms=NOW_MS)
    assert isinstance(found, Purchased | UsageObserved)
    return found


def test_a_pack_starts_and_expires_when_wechat_says() -> None:
    """Rule 6."""
    event = read(purchase_event(APP, row(), default_prices(), NOW_MS))
    assert isinstance(event, Purchased)
    # Billing began after this pack, so that here it starts as it was bought.
    pack = Pack.bought(event.data, event.had_from, Rules(billing_start_ms=0))
    assert (pack.starts_at_ms, pack.expires_at_ms) == (START_S * SECOND_MS, END_S * SECOND_MS)
    assert event.data.validity_days == 365


def test_a_purchase_has_its_price_from_the_catalogue_and_says_so() -> None:
    data = purchase_event(APP, row(), default_prices(), NOW_MS)["data"]
    assert (data["price_micro_yuan"], data["price_basis"]) == (30_000_000, "catalogue")


def test_a_pack_that_the_catalogue_does_not_have_says_that_its_price_is_unknown() -> None:
    data = purchase_event(APP, row(all="77"), default_prices(), NOW_MS)["data"]
    assert (data["price_micro_yuan"], data["price_basis"]) == (0, "unknown")


def test_a_price_belongs_to_capability_size_and_days() -> None:
    quota = row()
    prices: dict[PriceKey, int] = {("quick", 1_000, 365): 30, ("realtime", 1_000, 365): 40}
    assert price_of(quota, prices) == (30, "catalogue")
    assert price_of(quota._replace(capability="realtime"), prices) == (40, "catalogue")
    assert price_of(quota._replace(ends_at_ms=quota.starts_at_ms + 90 * DAY_MS), prices) == (0, "unknown")


def test_a_purchase_that_is_told_again_is_the_same_event_and_so_is_one_that_a_back_end_records() -> None:
    """Rule 2."""
    first = purchase_event(APP, row(), default_prices(), NOW_MS)
    again = purchase_event(APP, row(used="900"), {}, NOW_MS + DAY_MS)
    typed = pack_purchased(
        appid=APP,
        pack_id="ZY1",
        capability="quick",
        calls=1_000,
        validity_days=365,
        price_micro_yuan=1,
        paid_at=datetime(2026, 10, 1, tzinfo=UTC),
    )
    assert first["id"] == again["id"] == typed["id"]
    assert first["source"] == "/wechat/usage"


def test_a_pack_that_is_yet_to_start_was_paid_by_now() -> None:
    start_s = NOW_MS // SECOND_MS + 40 * 86_400
    quota = row(startTime=start_s, endTime=start_s + 31_536_000, status=2)
    event = read(purchase_event(APP, quota, default_prices(), NOW_MS))
    assert isinstance(event, Purchased)
    assert to_ms(event.data.paid_at) == NOW_MS
    assert event.data.starts_at is not None
    assert to_ms(event.data.starts_at) == start_s * SECOND_MS


@pytest.mark.parametrize(
    ("end_s", "days", "whole"), [(END_S, 365, True), (END_S - 1, 365, False), (START_S, 1, False)]
)
def test_days_are_whole(end_s: int, days: int, *, whole: bool) -> None:
    quota = row(endTime=end_s)
    assert (quota.days, quota.has_whole_days) == (days, whole)


@pytest.mark.parametrize("wrong", [{"all": "0"}, {"startTime": 0, "endTime": 31_536_000}])
def test_a_row_that_can_be_no_pack_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RefusedError):
        purchase_event(APP, row(**wrong), {}, NOW_MS)


@pytest.mark.parametrize("name", [None, ""])
def test_the_trial_quota_is_observed_without_a_pack(name: str | None) -> None:
    quota = row(pkgId=name, source=1, endTime=4_294_967_295, used="17")
    event = read(observation_event(APP, quota, quota.pack_id, NOW_MS))
    assert isinstance(event, UsageObserved)
    assert (event.data.pack_id, event.data.used, event.data.size) == ("", 17, 1_000)


def test_rows_without_the_id_of_a_pack_are_one_trial_quota() -> None:
    rows = [
        QuotaRow(used=1_000, size=1_000),
        QuotaRow(pkg_id="ZY1", used=1, size=250),
        QuotaRow(pkg_id="", used=7, size=100),
    ]
    found = [(quota.pack_id, quota.used, quota.size) for quota in quotas_of(rows, "quick")]
    assert found == [("", 1_007, 1_100), ("ZY1", 1, 250)]
    assert quotas_of(rows[1:2], "quick") == [quota_of(rows[1], "quick")]


def test_a_count_that_was_pushed_is_of_the_capability_and_the_same_push_is_the_same_event() -> None:
    first = pushed_event(APP, "quick", 8, 10, NOW_MS - 5_000, NOW_MS)
    again = pushed_event(APP, "quick", 8, 10, NOW_MS - 5_000, NOW_MS + 60_000)
    assert first == again
    event = read(first)
    assert isinstance(event, UsageObserved)
    assert (event.data.covers, event.data.pack_id, to_ms(event.time)) == ("capability", "", NOW_MS - 5_000)


@pytest.mark.parametrize("sent_at_ms", [NOW_MS + 1, NOW_MS - DAY_MS - 1, 0])
def test_a_push_with_an_absurd_time_is_about_now(sent_at_ms: int) -> None:
    assert to_ms(read(pushed_event(APP, "quick", 8, 10, sent_at_ms, NOW_MS)).time) == NOW_MS
