"""The balance of an app from its ledger entries: what `tests/simulation/checks.py` compares, case by case."""

import json
from typing import Any

from msgspec.structs import replace

from metering.ledger import Entry, EntryKind
from metering.live_balances import STORES_MAX, AppSums, LiveBalance
from metering.times import DAY_MS, HOUR_MS, shanghai_day, shanghai_midnight
from metering.times import parse_time as ms

NOW_MS = ms("2026-10-17T18:05:03+08:00")
DAY = shanghai_day(NOW_MS)


def sums(*entries: Entry) -> AppSums:
    made = AppSums()
    for entry in entries:
        made.take(entry)
    return made


def entry(kind: EntryKind, capability: str = "quick", **more: Any) -> Entry:  # noqa: ANN401 - its fields
    return replace(Entry(0, 0, kind, NOW_MS, NOW_MS, "wx1", capability), **more)


def pack(pack_id: str, calls: int, starts_at_ms: int = NOW_MS, days: int = 90, **more: Any) -> Entry:  # noqa: ANN401
    terms = {"starts_at_ms": starts_at_ms, "expires_at_ms": starts_at_ms + days * DAY_MS}
    return entry("purchase", calls=calls, pack_id=pack_id, details=json.dumps(terms), **more)


def left(made: AppSums, now_ms: int = NOW_MS) -> int:
    return made.balance("quick").ledger_left_at(now_ms)


def told(**details: object) -> str:
    return json.dumps(details)


def test_a_pack_holds_calls_from_its_start_until_just_before_its_expiry() -> None:
    made = sums(pack("P", 250, NOW_MS + HOUR_MS, 1))
    assert [left(made, NOW_MS + after) for after in (0, HOUR_MS, HOUR_MS + DAY_MS - 1, HOUR_MS + DAY_MS)] == [
        0,
        250,
        250,
        0,
    ]


def test_a_trial_quota_of_both_capabilities_is_used_by_both() -> None:
    made = sums(
        entry("trial_grant", "", calls=1_000),
        entry("opening", "", calls=100),
        entry("trial_charge", calls=1),
        entry("trial_charge", "realtime", calls=1),
    )
    assert [made.balance(one).ledger_left_at(NOW_MS) for one in ("quick", "realtime")] == [898, 898]
    assert made.balance("quick").trial_shared
    own = sums(entry("trial_grant", calls=1_000), entry("trial_charge", "realtime", calls=1))
    assert own.balance("quick") == LiveBalance(
        own.balance("quick").quotas, None, trial_shared=False, succeeded_ms=-1
    )
    assert left(own) == 1_000


def test_what_was_refunded_or_lapsed_is_not_left_and_a_settlement_may_take_that_back() -> None:
    made = sums(pack("P", 10), entry("charge", calls=3, pack_id="P"), entry("refund", calls=7, pack_id="P"))
    assert left(made) == 0
    made.take(entry("refund", calls=-7, pack_id="P", reason="settled"))
    assert left(made) == 7
    empty = sums(pack("P", 10), entry("refund", calls=0, pack_id="P"))
    assert left(empty) == 0


def test_a_correction_of_a_purchase_replaces_its_terms_or_takes_the_pack_away() -> None:
    made = sums(pack("P", 10), entry("charge", calls=3, pack_id="P"), pack("P", 20))
    assert left(made) == 17
    made.take(pack("P", -20, reason="settled"))
    assert left(made) == 0


def test_the_registration_of_the_latest_time_holds_or_that_which_a_settlement_names() -> None:
    made = sums(
        entry("registration", "", event_id="b", reason="exempt"),
        entry("registration", "", event_id="a", reason="charged", time_ms=NOW_MS - 1),
    )
    assert made.balance("quick").is_exempt
    made.take(entry("registration", "", reason="charged", time_ms=NOW_MS - 5, details=told(of="x")))
    assert not made.balance("quick").is_exempt


def test_a_success_and_a_refusal_count_by_their_own_times_or_the_arrival_if_that_is_earlier() -> None:
    made = sums(
        entry("charge", calls=1, pack_id="P", time_ms=NOW_MS + HOUR_MS),
        entry("failed", errno=1_400_001, time_ms=NOW_MS - 7),
        entry("failed", errno=103, time_ms=NOW_MS),
        entry("charge", calls=1, pack_id="P", time_ms=NOW_MS + 5, reason="settled"),
    )
    balance = made.balance("quick")
    assert (balance.succeeded_ms, balance.refused_ms) == (NOW_MS, NOW_MS - 7)


def test_the_newest_count_of_the_platform_holds_less_the_calls_since() -> None:
    made = sums(
        pack("P", 10),
        entry("usage_observed", pack_id="P", details=told(used=4, size=10)),
        entry("usage_observed", pack_id="P", details=told(used=1, size=10), time_ms=NOW_MS - 1),
        entry("charge", calls=1, pack_id="P", time_ms=NOW_MS + 1),
        entry("charge", calls=1, pack_id="P", time_ms=NOW_MS),
        entry("charge", calls=1, pack_id="P", time_ms=NOW_MS + 1, reason="settled"),
        entry("usage_observed", details=told(used=7, size=10, covers="capability")),
    )
    balance = made.balance("quick")
    assert [quota.platform_left for quota in balance.quotas] == [None, 5]
    assert balance.platform is not None
    assert (balance.platform.at_ms, balance.platform.left) == (NOW_MS, 3)


def test_the_newest_start_of_a_pack_that_holds_calls_is_a_top_up() -> None:
    made = sums(
        entry("trial_grant", "", calls=1_000), pack("P", 10, NOW_MS - DAY_MS), pack("Q", 10, NOW_MS + DAY_MS)
    )
    assert made.balance("quick").topped_up_ms(NOW_MS) == NOW_MS - DAY_MS
    assert made.balance("realtime").topped_up_ms(NOW_MS) == -1


def test_the_calls_of_a_store_are_counted_by_shanghai_day() -> None:
    midnight_ms = shanghai_midnight(NOW_MS)
    made = sums(
        entry("charge", calls=1, pack_id="P", store="a", time_ms=midnight_ms - 1),
        entry("charge", calls=1, pack_id="P", store="a", time_ms=midnight_ms),
        entry("uncovered", calls=1, store="a"),
        entry("denied", store="a"),
        entry("charge", "realtime", calls=1, pack_id="P", store="a"),
    )
    assert [made.store_calls("quick", "a", day) for day in (DAY - 1, DAY, DAY + 1)] == [1, 2, 0]
    made.take(entry("charge", calls=1, pack_id="P", store="a", time_ms=NOW_MS + DAY_MS))
    assert [made.store_calls("quick", "a", day) for day in (DAY - 1, DAY, DAY + 1)] == [0, 2, 1]


def test_stores_beyond_the_limit_are_not_counted_and_the_others_go_on() -> None:
    made = AppSums()
    for number in range(STORES_MAX + 1):
        made.count_store("quick", f"store-{number}", DAY, 1)
    made.count_store("quick", "store-0", DAY, 1)
    assert made.store_calls("quick", "store-0", DAY) == 2
    assert made.store_calls("quick", f"store-{STORES_MAX}", DAY) == 0
