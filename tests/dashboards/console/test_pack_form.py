"""The form of a pack that was bought at WeChat: what it takes and refuses, and the fact that it makes."""

import pytest

from dashboards.console.pack_form import MISTAKES, FieldName, PackPurchase, read_purchase
from metering.times import parse_time

APP = "wx92717bd84024b977"
NOW_MS = parse_time("2026-03-10T10:00:00+08:00")
RIGHT: dict[FieldName, str] = {
    "pack_id": "",
    "calls": "1000",
    "validity_days": "365",
    "price": "30",
    "paid_at": "2026-03-10T10:00",
}


def read(**fields: str) -> PackPurchase | FieldName:
    return read_purchase(APP, "quick", {**RIGHT, **fields}, NOW_MS)  # type: ignore[dict-item] # names of fields


def purchase(**fields: str) -> PackPurchase:
    found = read(**fields)
    assert isinstance(found, PackPurchase)
    return found


def test_a_purchase_is_the_fact_that_a_back_end_would_record() -> None:
    fact = purchase(pack_id="pkg 1", price="7.5").fact(APP)
    assert (fact.kind, fact.appid, fact.time_ms) == ("pack.purchased", APP, NOW_MS)
    assert fact.data == {
        "pack_id": "pkg 1",
        "capability": "quick",
        "calls": 1_000,
        "validity_days": 365,
        "price_micro_yuan": 7_500_000,
        "paid_at": "2026-03-10T02:00:00.000Z",
    }


def test_without_an_id_the_same_purchase_has_the_same_one_and_another_has_another() -> None:
    assert purchase().pack_id == purchase().pack_id
    others = [purchase(calls="1001"), purchase(price="30.01"), purchase(paid_at="2026-03-10T09:59")]
    assert len({purchase().pack_id, *(one.pack_id for one in others)}) == 4
    assert purchase().pack_id.removeprefix("typed-").isalpha()


@pytest.mark.parametrize(
    ("text", "micro_yuan"),
    [
        ("0", 0),
        ("7.5", 7_500_000),
        ("0.01", 10_000),
        ("28000.00", 28_000_000_000),
        ("999999999", 999_999_999 * 10**6),
    ],
)
def test_a_price_in_yuan_is_exact(text: str, micro_yuan: int) -> None:
    assert purchase(price=text).offer.price_micro_yuan == micro_yuan


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("pack_id", "13800138000"),
        ("pack_id", "x" * 129),
        ("pack_id", "a\x00b"),
        ("calls", ""),
        ("calls", "0"),
        ("calls", "1e3"),
        ("calls", "1000000001"),
        ("calls", "١٠"),
        ("validity_days", "30"),
        ("validity_days", ""),
        ("price", ""),
        ("price", "-1"),
        ("price", "7.505"),
        ("price", "1,000"),
        ("price", "1000000000"),
        ("paid_at", ""),
        ("paid_at", "2026-03-10T10:01"),
        ("paid_at", "2016-12-31T00:00"),
        ("paid_at", "2026-03-10"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_no_pack_has_is_refused_by_its_field(field: FieldName, text: str) -> None:
    assert read(**{field: text}) == field
    assert MISTAKES[field]
