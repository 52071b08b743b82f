"""The views for analysts give what the lines of a simulated half-year add up to in plain Python."""

from collections import Counter, defaultdict
from datetime import date
from typing import Any

import msgspec

from metering.ledger import Entry
from metering.times import DAY_MS, shanghai_date, shanghai_day
from tests.dashboards.conftest import Ledger
from tools.pictures.half_year import PLATFORM_AHEAD, START_MS, is_call

UNSUCCESSFUL = ("denied", "failed")


def terms(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(entry.details)
    return found


def of_kind(ledger: Ledger, *kinds: str) -> list[Entry]:
    return [entry for entry in ledger.entries if entry.kind in kinds]


def test_every_authorization_is_there_once_as_what_became_of_it(simulated: Ledger) -> None:
    fate: dict[str, str] = {}
    names = {"charge": "pack", "trial_charge": "trial", "denied": "", "failed": ""}
    for entry in simulated.entries:
        if is_call(entry) or entry.kind in UNSUCCESSFUL:
            fate[entry.event_id] = names.get(entry.kind, entry.kind)
    found = simulated.query("SELECT event_id, charged_to FROM authorizations")
    assert len(found) == len(fate)
    assert dict(found) == fate
    assert "uncovered" in fate.values()


def test_calls_and_money_of_authorizations_are_those_of_the_ledger(simulated: Ledger) -> None:
    ((calls, money),) = simulated.query("SELECT sum(calls), sum(amount_micro_yuan) FROM authorizations")
    assert calls == sum(entry.calls for entry in simulated.entries if is_call(entry))
    assert money == sum(entry.amount_micro_yuan for entry in of_kind(simulated, "charge"))


def test_the_funnel_adds_up_by_outcome_error_number_scene_and_store(simulated: Ledger) -> None:
    expected: Counter[tuple[Any, ...]] = Counter()
    for entry in simulated.entries:
        if is_call(entry) or entry.kind in UNSUCCESSFUL:
            outcome = entry.kind if entry.kind in UNSUCCESSFUL else "succeeded"
            where = (entry.appid, entry.capability, shanghai_date(entry.time_ms), entry.scene, entry.store)
            expected[*where, outcome, entry.errno] += entry.calls if is_call(entry) else 1
    found = simulated.query(
        "SELECT appid, capability, day, scene, store, outcome, errno, authorizations FROM funnel"
    )
    assert {row[:7]: row[7] for row in found} == dict(expected)


def test_a_month_is_the_sum_of_its_days(simulated: Ledger) -> None:
    expected: Counter[tuple[str, date]] = Counter()
    for entry in of_kind(simulated, "charge"):
        day = shanghai_date(entry.time_ms)
        expected[entry.appid, day.replace(day=1)] += entry.amount_micro_yuan
    found = simulated.query(
        "SELECT appid, month, sum(usage_monthly.amount_micro_yuan) AS money FROM usage_monthly "
        "GROUP BY appid, month HAVING money > 0"
    )
    assert {row[:2]: row[2] for row in found} == dict(expected)


def test_months_are_read_from_the_projection_of_days(simulated: Ledger) -> None:
    plan = str(simulated.query("EXPLAIN SELECT month, sum(charged) FROM usage_monthly GROUP BY month"))
    assert "ReadFromMergeTree (daily)" in plan


def test_an_order_tells_what_became_of_it(simulated: Ledger) -> None:
    refunds = {entry.pack_id: entry.time_ms for entry in of_kind(simulated, "refund")}
    refusals = {entry.pack_id: entry.reason for entry in of_kind(simulated, "refund_refused")}
    expected = {
        (terms(entry)["order_id"], entry.pack_id, entry.calls, entry.amount_micro_yuan): (
            "refunded" if entry.pack_id in refunds else "paid",
            refunds.get(entry.pack_id),
            refusals.get(entry.pack_id, ""),
        )
        for entry in of_kind(simulated, "purchase")
    }
    found = simulated.query(
        "SELECT order_id, pack_id, calls, price_micro_yuan, status, toUnixTimestamp64Milli(refunded_at), "
        "refund_refused_because FROM orders"
    )
    assert {row[:4]: row[4:] for row in found} == expected
    assert refunds
    assert refusals


def test_a_refused_purchase_is_an_order_without_a_pack(ledger: Ledger) -> None:
    before = ledger.entries
    bought = of_kind(ledger, "purchase")[0]
    fields = msgspec.structs.asdict(bought)
    refused = Entry(
        **(fields | {"offset": bought.offset + 1, "kind": "purchase_refused", "reason": "pack_known"})
    )
    ledger.replace([bought, msgspec.structs.replace(refused, calls=0, amount_micro_yuan=0, remaining=0)])
    found = ledger.query("SELECT status, calls, refused_because FROM orders ORDER BY status")
    assert found == [("paid", bought.calls, ""), ("refused", bought.calls, "pack_known")]
    ledger.replace(before)


def test_apps_are_what_they_are_registered_as(simulated: Ledger) -> None:
    expected = {
        entry.appid: (terms(entry)["name"], terms(entry)["entity_type"], entry.reason == "exempt")
        for entry in of_kind(simulated, "registration")
    }
    found = simulated.query("SELECT appid, name, entity_type, exempt FROM apps")
    assert {row[0]: row[1:] for row in found} == expected
    assert any(exempt for _, _, exempt in expected.values())


def test_an_app_is_called_by_its_name_unless_it_has_none_or_another_has_it_too(ledger: Ledger) -> None:
    before = ledger.entries
    granted = [
        Entry(offset, 0, "trial_grant", START_MS, START_MS, appid, calls=1_000, remaining=1_000)
        for offset, appid in enumerate(("wx1", "wx2", "wx3", "wx4"))
    ]
    registered = [
        Entry(
            offset,
            1,
            "registration",
            START_MS,
            START_MS,
            appid,
            reason="metered",
            details=f'{{"name":"{name}"}}',
        )
        for offset, appid, name in ((1, "wx2", "会员中心"), (2, "wx3", "门店"), (3, "wx4", "门店"))
    ]
    ledger.replace(sorted([*granted, *registered], key=lambda entry: (entry.offset, entry.line)))
    found = ledger.query("SELECT appid, label FROM apps ORDER BY appid")
    assert found == [("wx1", "wx1"), ("wx2", "会员中心"), ("wx3", "门店 wx3"), ("wx4", "门店 wx4")]
    ledger.replace(before)


def burned_down(entries: list[Entry]) -> dict[tuple[str, int], tuple[int, int]]:
    """Charged and remaining of every pack on each of its days, worked out day by day."""
    newest_ms = max(entry.time_ms for entry in entries)
    gone: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.kind in ("charge", "lapse", "refund"):
            gone[entry.pack_id, shanghai_day(entry.time_ms)][entry.kind] += entry.calls
    expected = {}
    for entry in entries:
        if entry.kind != "purchase":
            continue
        first_ms, expires_ms = terms(entry)["starts_at_ms"], terms(entry)["expires_at_ms"]
        own = {day for pack_id, day in gone if pack_id == entry.pack_id}
        days = own | set(range(shanghai_day(first_ms), shanghai_day(min(expires_ms, newest_ms)) + 1))
        left = entry.calls
        for day in sorted(days):
            left -= gone[entry.pack_id, day].total()
            expected[entry.pack_id, day] = (gone[entry.pack_id, day]["charge"], left)
    return expected


def test_every_pack_burns_down_day_by_day_with_zeros_for_days_without_use(simulated: Ledger) -> None:
    found = simulated.query("SELECT pack_id, toUInt16(day), charged, remaining FROM pack_burndown")
    expected = burned_down(simulated.entries)
    assert {row[:2]: row[2:] for row in found} == expected
    assert sum(charged == 0 for charged, _ in expected.values()) > 100


def test_the_last_day_of_a_burn_down_is_the_pack_as_it_stands(simulated: Ledger) -> None:
    ended = simulated.query(
        "SELECT pack_id, argMax(pack_burndown.remaining, day) FROM pack_burndown "
        "GROUP BY pack_id ORDER BY pack_id"
    )
    assert ended == simulated.query("SELECT pack_id, remaining FROM packs ORDER BY pack_id")


def test_the_platforms_count_stands_beside_ours(simulated: Ledger) -> None:
    """Rule 17."""
    found = simulated.query(
        "SELECT pack_id, used, charged, difference FROM platform_usage ORDER BY appid, pack_id"
    )
    assert len(found) == len(of_kind(simulated, "usage_observed"))
    assert [row[3] for row in found] == [PLATFORM_AHEAD, *[0] * (len(found) - 1)]
    assert any(pack_id and used for pack_id, used, _, _ in found)


def test_what_was_charged_after_an_observation_does_not_count_into_it(ledger: Ledger) -> None:
    before = ledger.entries
    common: dict[str, Any] = {"recorded_at_ms": 0, "appid": "wx1", "capability": "quick", "pack_id": "p1"}
    charges = [
        Entry(n, 0, "charge", time_ms=DAY_MS + n // 2, calls=1, event_id=f"e{n}", **common) for n in range(6)
    ]
    seen = Entry(9, 0, "usage_observed", time_ms=DAY_MS + 1, details='{"size":250,"used":5}', **common)
    early = Entry(10, 0, "usage_observed", time_ms=DAY_MS - 1, details='{"size":250,"used":0}', **common)
    ledger.replace([*charges, seen, early])
    found = ledger.query("SELECT used, charged, difference FROM platform_usage ORDER BY observed_at")
    assert found == [(0, 0, 0), (5, 4, 1)]
    ledger.replace(before)


def test_a_count_of_a_whole_capability_is_compared_with_no_quota(ledger: Ledger) -> None:
    before = ledger.entries
    pushed = Entry(
        0,
        0,
        "usage_observed",
        time_ms=DAY_MS,
        details='{"covers":"capability","size":10,"used":8}',
        appid="wx1",
        capability="quick",
        recorded_at_ms=0,
    )
    ledger.replace([pushed])
    assert ledger.query("SELECT * FROM platform_usage") == []
    ledger.replace(before)


def test_an_order_says_where_its_price_is_from(ledger: Ledger) -> None:
    before = ledger.entries
    bought = of_kind(ledger, "purchase")[0]
    reported = msgspec.structs.replace(
        bought,
        offset=bought.offset + 1,
        pack_id="reported",
        details=msgspec.json.encode(
            {**terms(bought), "price_basis": "unknown", "price_micro_yuan": 0}
        ).decode(),
    )
    ledger.replace([bought, reported])
    found = ledger.query("SELECT price_micro_yuan, price_basis FROM orders ORDER BY price_micro_yuan")
    assert found == [(0, "unknown"), (bought.amount_micro_yuan, "paid")]
    ledger.replace(before)


def test_an_assigned_pack_is_an_order_with_the_time_of_its_assignment(ledger: Ledger) -> None:
    before = ledger.entries
    bought = of_kind(ledger, "purchase")[0]
    assigned = msgspec.structs.replace(
        bought,
        offset=bought.offset + 1,
        pack_id="assigned",
        details=msgspec.json.encode({**terms(bought), "assigned_at_ms": 1_772_000_000_000}).decode(),
    )
    ledger.replace([bought, assigned])
    found = ledger.query("SELECT toUnixTimestamp64Milli(assigned_at) FROM orders ORDER BY assigned_at")
    assert found == [(1_772_000_000_000,), (None,)]
    ledger.replace(before)
