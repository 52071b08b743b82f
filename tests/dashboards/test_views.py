"""The views on the ledger give what adding up its lines in Python gives, and read projections."""

from collections import Counter, defaultdict
from importlib import resources
from typing import Any

import pytest

from dashboards import views
from dashboards.views.usage import USAGE
from metering.ledger import CALL_KINDS, Entry
from metering.times import DAY_MS, HOUR_MS, shanghai_date
from tests.dashboards.conftest import Ledger, some_of_everything
from tests.sinks.parts import START_MS, lines, purchase

COUNTED = ("succeeded", "charged", "trial_charged", "free", "exempt", "uncovered", "denied", "failed",
           "duplicates", "amount_micro_yuan")  # fmt: skip
NAMED = {"charge": "charged", "trial_charge": "trial_charged", "free": "free", "exempt": "exempt",
         "uncovered": "uncovered", "denied": "denied", "failed": "failed",
         "duplicate": "duplicates"}  # fmt: skip


def added_up(entries: list[Entry], period: Any) -> dict[tuple[Any, ...], tuple[int, ...]]:  # noqa: ANN401 - a function of milliseconds
    sums: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.kind not in NAMED:
            continue
        of = sums[entry.appid, entry.capability, period(entry.time_ms), entry.scene, entry.store]
        is_call = entry.kind in CALL_KINDS
        of[NAMED[entry.kind]] += entry.calls if is_call else 1
        of["succeeded"] += entry.calls if is_call else 0
        of["amount_micro_yuan"] += entry.amount_micro_yuan if entry.kind == "charge" else 0
    return {key: tuple(counted[name] for name in COUNTED) for key, counted in sums.items()}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_usage_by_day_and_hour_is_the_sum_of_the_lines(ledger: Ledger, seed: int) -> None:
    entries = lines(4_000, seed=seed)
    ledger.replace(entries)
    columns = ", ".join(COUNTED)
    by_day = ledger.query(
        f"SELECT appid, capability, day, scene, store, {columns} FROM usage_daily"  # noqa: S608 - our own names
    )
    assert {row[:5]: row[5:] for row in by_day} == added_up(entries, shanghai_date)
    by_hour = ledger.query(
        f"SELECT appid, capability, toUnixTimestamp(hour), scene, store, {columns} FROM usage_hourly"  # noqa: S608 - our own names
    )
    hours = added_up(entries, lambda time_ms: time_ms // HOUR_MS * HOUR_MS // 1_000)
    assert {row[:5]: row[5:] for row in by_hour} == hours
    by_month = ledger.query(
        f"SELECT appid, capability, month, {columns} FROM usage_monthly_by_app"  # noqa: S608 - our own names
    )
    months: defaultdict[tuple[Any, ...], list[tuple[int, ...]]] = defaultdict(list)
    for (appid, capability, day, *_), counted in added_up(entries, shanghai_date).items():
        months[appid, capability, day.replace(day=1)].append(counted)
    assert {row[:3]: row[3:] for row in by_month} == {
        key: tuple(map(sum, zip(*counted, strict=True))) for key, counted in months.items()
    }
    ledger.replace(some_of_everything())


def test_a_shanghai_day_begins_at_sixteen_hours_utc(ledger: Ledger) -> None:
    midnight_ms = START_MS + 16 * HOUR_MS
    ledger.replace(
        [Entry(n, 0, "charge", midnight_ms - 1 + n, 0, "wx1", "quick", f"e{n}", calls=1) for n in range(2)]
    )
    days = ledger.query("SELECT toString(day), charged FROM usage_daily ORDER BY day")
    assert days == [("2024-06-01", 1), ("2024-06-02", 1)]
    ledger.replace(some_of_everything())


def test_a_curve_has_zeros_for_the_days_without_use(ledger: Ledger) -> None:
    curve = ledger.query(
        "SELECT toString(day), succeeded FROM "
        "usage_curve(app = 'wx2', first_day = '2024-05-30', last_day = '2024-06-08')"
    )
    assert [day for day, _ in curve] == [
        *(f"2024-05-{day}" for day in (30, 31)), *(f"2024-06-{day:02d}" for day in range(1, 9))
    ]  # fmt: skip
    assert [calls for _, calls in curve[:2]] == [0, 0]
    used = sum(e.calls for e in ledger.entries if e.appid == "wx2" and e.kind in CALL_KINDS)
    assert sum(calls for _, calls in curve) == used


def test_each_pack_holds_what_was_bought_less_what_went(ledger: Ledger) -> None:
    moved: Counter[tuple[str, str]] = Counter()
    for entry in ledger.entries:
        if entry.appid == "wx1" and entry.capability == "quick":
            moved[entry.pack_id, entry.kind] += entry.calls
    found = ledger.query(
        "SELECT pack_id, status, calls, charged, lapsed, refunded, remaining FROM packs "
        "WHERE appid = 'wx1' AND capability = 'quick' ORDER BY pack_id"
    )
    statuses = {"p1": "active", "p2": "active", "p3": "lapsed", "p4": "refunded", "p5": "exhausted"}
    assert {row[0]: row[1] for row in found} == statuses
    for pack_id, _, calls, charged, lapsed, refunded, remaining in found:
        assert charged == moved[pack_id, "charge"]
        assert lapsed == moved[pack_id, "lapse"]
        assert refunded == moved[pack_id, "refund"]
        assert calls == charged + lapsed + refunded + remaining


def test_the_terms_of_a_pack_are_those_of_its_purchase(ledger: Ledger) -> None:
    ((order_id, validity_days, price, *times),) = ledger.query(
        "SELECT order_id, validity_days, price_micro_yuan, toUnixTimestamp64Milli(paid_at), "
        "toUnixTimestamp64Milli(starts_at), toUnixTimestamp64Milli(expires_at) "
        "FROM packs WHERE pack_id = 'p1'"
    )
    assert (order_id, validity_days, price) == ("order-p1", 90, 7_500_000)
    assert times == [START_MS - HOUR_MS, START_MS, START_MS + 90 * DAY_MS]


def test_a_pack_that_begins_later_is_pending(ledger: Ledger) -> None:
    pack = purchase("wx1", "p9", 0, starts_at_ms=START_MS + DAY_MS)
    begins_later = Entry(
        **{name: getattr(pack, name) for name in pack.__struct_fields__} | {"time_ms": START_MS}
    )
    ledger.replace([begins_later])
    assert ledger.query("SELECT status FROM packs") == [("pending",)]
    assert ledger.query(
        "SELECT packs_remaining, packs_pending FROM balances_now WHERE capability = 'quick'"
    ) == [(0, 250)]
    ledger.replace(some_of_everything())


def test_the_balance_is_the_trial_and_the_active_packs(ledger: Ledger) -> None:
    trial = 1_000 - sum(e.calls for e in ledger.entries if e.appid == "wx1" and e.kind == "trial_charge")
    ((active,),) = ledger.query(
        "SELECT sum(remaining) FROM packs WHERE appid = 'wx1' AND capability = 'quick' AND status = 'active'"
    )
    found = ledger.query(
        "SELECT capability, calls_left, trial_remaining, trial_shared, packs_remaining FROM balances_now "
        "WHERE appid = 'wx1' ORDER BY capability"
    )
    assert found == [
        ("quick", trial + active, trial, True, active),
        ("realtime", trial, trial, True, 0),
    ]


def test_a_trial_quota_per_capability_is_not_shared(ledger: Ledger) -> None:
    ledger.replace(
        [
            Entry(0, 0, "trial_grant", 0, 0, "wx1", "quick", calls=1_000),
            Entry(0, 1, "trial_grant", 0, 0, "wx1", "realtime", calls=1_000),
            Entry(1, 0, "trial_charge", 0, 0, "wx1", "quick", "e1", calls=1),
        ]
    )
    found = ledger.query(
        "SELECT capability, trial_remaining, trial_shared FROM balances_now ORDER BY capability"
    )
    assert found == [("quick", 999, False), ("realtime", 1_000, False)]
    ledger.replace(some_of_everything())


def test_a_call_that_was_taken_over_is_not_uncovered_any_more(ledger: Ledger) -> None:
    found = ledger.query("SELECT event_id, reason FROM uncovered WHERE event_id IN ('taken', 'too-late')")
    assert found == [("too-late", "too_late")]


def test_lapses_alerts_and_rejections_are_their_lines(ledger: Ledger) -> None:
    assert ledger.query("SELECT pack_id, calls, amount_micro_yuan FROM lapses") == [("p3", 250, 7_500_000)]
    alerts = ledger.query(
        "SELECT reason, recovered, level_percent, size, days, hours_left FROM alerts "
        "ORDER BY reason, recovered"
    )
    assert alerts == [
        ("client_burn", False, None, None, None, None),
        ("expiry", False, None, None, 7, None),
        ("level", False, 20, 250, None, None),
        ("level", True, 20, 500, None, None),
        ("run_out", False, None, None, None, 30),
        ("uncovered", False, None, None, None, None),
    ]
    told = ledger.query(
        "SELECT why, client, calls, usual FROM alerts WHERE reason IN ('uncovered', 'client_burn')"
    )
    assert sorted(told) == [("", "c1", 30, 2), ("no_pack", "", None, None)]
    assert ledger.query("SELECT source_offset, reason FROM rejections") == [(1_000_011, "bad_json")]


def test_a_delivery_is_told_by_its_newest_row_with_what_the_ledger_says_of_the_alert(ledger: Ledger) -> None:
    told = ledger.query(
        "SELECT alert_id, capability, reason, recovered, state, attempts, outcome, "
        "dateDiff('second', asked_at, delivered_at) FROM deliveries ORDER BY alert_id"
    )
    assert told == [
        ("0-1000003-0", "quick", "level", False, "delivered", 2, "", 9),
        ("0-1000004-0", "quick", "expiry", False, "dead", 21, "busy", None),
    ]
    assert ledger.query(
        "SELECT count() FROM alerts WHERE alert_id NOT IN (SELECT alert_id FROM deliveries)"
    ) == [(4,)]


@pytest.mark.parametrize(
    ("query", "projection"),
    [
        ("SELECT day, sum(charged) FROM usage_daily WHERE appid = 'wx1' GROUP BY day", "daily"),
        ("SELECT month, sum(charged) FROM usage_monthly WHERE appid = 'wx1' GROUP BY month", "daily"),
        (
            "SELECT appid, sum(charged) FROM usage_monthly_by_app WHERE month = '2024-06-01' GROUP BY appid",
            "monthly",
        ),
        (
            "SELECT * FROM usage_curve(app = 'wx1', first_day = '2024-01-01', last_day = '2024-12-31')",
            "daily",
        ),
        ("SELECT * FROM packs WHERE appid = 'wx1'", "packs"),
    ],
)
def test_sums_are_read_from_projections_and_not_from_the_lines(
    ledger: Ledger, query: str, projection: str
) -> None:
    plan = str(ledger.query(f"EXPLAIN {query}"))
    assert f"ReadFromMergeTree ({projection})" in plan


def test_every_view_and_each_of_its_columns_has_a_comment(ledger: Ledger) -> None:
    found = ledger.query(
        "SELECT name, comment FROM system.tables WHERE database = 'phonemeter' AND engine = 'View'"
    )
    assert {name for name, _ in found} == set(views.NAMES)
    assert [name for name, comment in found if not comment] == []
    # A view with parameters cannot declare its columns.
    uncommented = ledger.query(
        "SELECT table, name FROM system.columns WHERE database = 'phonemeter' AND comment = '' "
        "AND table != 'usage_curve'"
    )
    assert uncommented == []


def test_every_view_that_is_shipped_is_named() -> None:
    files = {entry.name for entry in resources.files(views).iterdir() if entry.name.endswith(".sql")}
    assert files | {f"{name}.sql" for name in USAGE} == {f"{name}.sql" for name in views.NAMES}
