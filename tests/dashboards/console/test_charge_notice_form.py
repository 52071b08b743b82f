"""The form of a charge notice: exact prices, a Shanghai time, a preview of the last hour."""

import pytest

from dashboards.console.charge_notice_form import (
    NOTICE_MISTAKES,
    NoticeField,
    NoticePrices,
    is_current,
    notice_fact,
    read_prices,
    usual_fields,
)
from metering.times import HOUR_MS, parse_time
from phonemeter.business.fact_desk import event_of
from tests.dashboards.console.parts import APPS, BILLING_START_MS

USUAL: dict[NoticeField, str] = {
    "price_min": "0.026",
    "price_max": "0.03",
    "charged_from": "2023-08-26T00:00",
}
NOW_MS = parse_time("2026-06-01T10:00:00+08:00")


def test_the_fields_begin_as_wechats_own_notice() -> None:
    assert usual_fields("quick", BILLING_START_MS) == USUAL
    assert usual_fields("realtime", BILLING_START_MS) == {**USUAL, "price_min": "0.04", "price_max": "0.04"}
    assert read_prices(USUAL) == NoticePrices(26_000, 30_000, BILLING_START_MS)


@pytest.mark.parametrize(
    ("text", "micro_yuan"),
    [("0.000001", 1), ("0", 0), ("9999.999999", 9_999_999_999), ("1.5", 1_500_000), ("007", 7_000_000)],
)
def test_a_price_is_exact(text: str, micro_yuan: int) -> None:
    read = read_prices({**USUAL, "price_min": text, "price_max": text})
    assert isinstance(read, NoticePrices)
    assert read.price_min_micro_yuan == read.price_max_micro_yuan == micro_yuan


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("price_min", ""),
        ("price_min", "-1"),
        ("price_min", "0.0000001"),
        ("price_min", "1e3"),
        ("price_min", "．5"),
        ("price_max", "０.03"),
        ("price_max", "0.025999"),
        ("price_max", "10000"),
        ("charged_from", ""),
        ("charged_from", "2023-08-26"),
        ("charged_from", "2016-12-31T00:00"),
        ("charged_from", "2050-01-02T00:00"),
        ("charged_from", "9999-12-31T23:59"),
    ],
)
def test_the_first_field_that_is_wrong_is_named(name: NoticeField, text: str) -> None:
    assert read_prices({**USUAL, name: text}) == name
    assert name in NOTICE_MISTAKES


@pytest.mark.parametrize(
    "text",
    [str(NOW_MS - HOUR_MS - 1), str(NOW_MS + 1), "", "-5", "²", "9" * 900],
    ids=["longer ago", "in the future", "none", "negative", "no digit", "long"],
)
def test_what_was_not_previewed_in_the_last_hour_can_not_be_sent(text: str) -> None:
    assert not is_current(text, NOW_MS)
    assert is_current(str(NOW_MS), NOW_MS)
    assert is_current(str(NOW_MS - HOUR_MS), NOW_MS)


def test_the_fact_of_one_preview_is_always_the_same_event() -> None:
    terms = NoticePrices(26_000, 30_000, BILLING_START_MS).terms(100, "会员中心")
    first, second, later = (
        event_of(notice_fact(APPS[0], "quick", terms, at_ms), NOW_MS)
        for at_ms in (NOW_MS - 5, NOW_MS - 5, NOW_MS)
    )
    assert first == second
    assert first["id"] != later["id"]
    assert first["data"] == {
        "capability": "quick",
        "monthly_calls_max": 100,
        "price_min_micro_yuan": 26_000,
        "price_max_micro_yuan": 30_000,
        "charged_from": "2023-08-25T16:00:00.000Z",
        "name": "会员中心",
    }
    nameless = notice_fact(APPS[0], "quick", NoticePrices(0, 0, 0).terms(50, ""), NOW_MS)
    assert "name" not in nameless.data
