"""Now (rule 19): the clock where the log has ticks, and the newest line only where a past is played."""

import time

import pytest

from dashboards.reads.balance import CapabilityHolding
from metering.ledger import Entry
from metering.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from phonemeter.audit.apps_summary import read_summary
from phonemeter.cli.balance import read_balance
from phonemeter.cli.forecast import read_forecast
from tests.dashboards.conftest import Ledger
from tests.sinks.parts import START_MS, purchase

FRESH_MS = MINUTE_MS
"""Most that the clock may advance while a test runs."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def tick(at_ms: int) -> Entry:
    """The ledger entry of the first clock tick of a partition."""
    return Entry(0, 0, "clock_start", at_ms, at_ms, "")


def denied(offset: int, at_ms: int, app: str = "wx1") -> Entry:
    """A line that moves nothing, and is the newest."""
    return Entry(offset, 0, "denied", at_ms, at_ms, app, "quick", f"denied-{offset}")


def pack(pack_id: str, offset: int, starts_at_ms: int, told_ms: int) -> Entry:
    """A pack of 250 calls for 90 days."""
    line = purchase("wx1", pack_id, offset, starts_at_ms=starts_at_ms)
    fields = {name: getattr(line, name) for name in line.__struct_fields__}
    return Entry(**fields | {"time_ms": told_ms, "recorded_at_ms": told_ms})


def statuses(ledger: Ledger) -> dict[str, str]:
    return dict(ledger.query("SELECT pack_id, status FROM packs"))


def quick(ledger: Ledger) -> CapabilityHolding:
    return read_balance(ledger.engine.url, "wx1").capabilities["quick"]


def test_without_ticks_now_is_the_newest_line_and_with_them_it_is_the_clock(kept: Ledger) -> None:
    kept.replace([denied(1, START_MS)])
    assert kept.query("SELECT runs_on, toUnixTimestamp64Milli(now) FROM clock") == [("events", START_MS)]
    kept.replace([tick(START_MS), denied(1, START_MS)])
    ((runs_on, shown_ms),) = kept.query("SELECT runs_on, toUnixTimestamp64Milli(now) FROM clock")
    assert runs_on == "wall"
    assert 0 <= now_ms() - shown_ms < FRESH_MS
    assert read_balance(kept.engine.url, "wx1").runs_on == "wall"
    assert read_forecast(kept.engine.url, "wx1").as_of_ms >= shown_ms


@pytest.mark.parametrize(
    ("since_start_ms", "status", "left", "pending", "expired"),
    [
        (-1, "pending", 0, 250, 0),
        (0, "active", 250, 0, 0),
        (90 * DAY_MS - 1, "active", 250, 0, 0),
        (90 * DAY_MS, "expired", 0, 0, 250),
    ],
)
def test_a_pack_is_active_from_its_very_start_until_just_before_its_expiry(
    kept: Ledger, since_start_ms: int, status: str, left: int, pending: int, expired: int
) -> None:
    kept.replace([pack("p", 0, START_MS, START_MS - DAY_MS), denied(1, START_MS + since_start_ms)])
    assert statuses(kept) == {"p": status}
    told = quick(kept)
    assert (told.calls_left, told.packs_pending, told.packs_expired) == (left, pending, expired)
    assert [one.burns for one in told.packs] == [1 if left or pending else None]


def test_what_an_expired_pack_keeps_for_late_events_is_left_to_nobody(kept: Ledger) -> None:
    expired_ms = now_ms() - 30 * SECOND_MS
    used = [
        Entry(10 + n, 0, "uncovered", expired_ms - n * HOUR_MS, expired_ms, "wx1", "quick", f"e{n}", calls=1)
        for n in range(100)
    ]
    kept.replace([tick(START_MS), pack("p", 1, expired_ms - 90 * DAY_MS, START_MS), *used])
    assert statuses(kept) == {"p": "expired"}
    told = quick(kept)
    assert (told.calls_left, told.packs_remaining, told.packs_expired) == (0, 0, 250)
    assert read_forecast(kept.engine.url, "wx1").capabilities["quick"].packs == ()
    assert kept.query("SELECT pack_id FROM forecast_packs") == []
    fleet = read_summary(kept.engine.url)
    assert fleet.out_of_calls["quick"] == 1
    assert [(near.capability, near.calls_left) for near in fleet.nearest] == [("quick", 0)]
    assert kept.query("SELECT next_expires_at FROM balances_now WHERE capability = 'quick'") == [(None,)]


def test_a_pack_that_began_while_nothing_happened_is_active(kept: Ledger) -> None:
    began_ms = now_ms() - 36 * SECOND_MS
    kept.replace([tick(START_MS), pack("p", 1, began_ms, began_ms - HOUR_MS)])
    assert statuses(kept) == {"p": "active"}
    assert quick(kept).calls_left == 250


def test_a_clock_that_is_ahead_in_another_app_makes_no_pack_active(kept: Ledger) -> None:
    at_ms = now_ms()
    begins_later = pack("p", 1, at_ms + 30 * MINUTE_MS, at_ms)
    kept.replace([tick(START_MS), begins_later, denied(2, at_ms + 55 * MINUTE_MS, app="wx-ahead")])
    assert statuses(kept) == {"p": "pending"}
    assert (quick(kept).calls_left, quick(kept).packs_pending) == (0, 250)


def test_days_go_on_where_nothing_happens(kept: Ledger) -> None:
    began_ms = now_ms() - 10 * DAY_MS
    kept.replace([tick(START_MS), pack("p", 1, began_ms, began_ms)])
    assert kept.query("SELECT count(), min(remaining) FROM pack_burndown") == [(11, 250)]
    used_up = [
        Entry(2 + n, 0, "charge", began_ms + n, began_ms, "wx1", "quick", f"e{n}", 1, 30_000, "p")
        for n in range(60)
    ]
    kept.replace([tick(START_MS), pack("p", 1, began_ms, began_ms), *used_up])
    ((days, last_day, today),) = kept.query(
        "SELECT days, last_day, toDate(now(), 'Asia/Shanghai') FROM paces WHERE capability = 'quick'"
    )
    assert (days, (today - last_day).days) == (7, 1)


def test_a_stretch_too_short_for_any_use_is_forecast_as_any_other(kept: Ledger) -> None:
    """Now is wherever the clock stands: also some milliseconds before midnight, with the trial used up."""
    midnight_ms = START_MS + 16 * HOUR_MS
    used = [
        Entry(10 + n, 0, "trial_charge", START_MS - n * HOUR_MS, START_MS, "wx1", "quick", f"e{n}", calls=1)
        for n in range(48)
    ]
    grant = Entry(0, 0, "trial_grant", START_MS, START_MS, "wx1", calls=50, remaining=50)
    second = pack("q", 1, midnight_ms + 2 * DAY_MS + 2, START_MS)
    kept.replace([grant, second, *used, denied(100, midnight_ms - 2)])
    ((run_out_at,),) = kept.query(
        "SELECT toUnixTimestamp64Milli(run_out_at) FROM forecasts WHERE capability = 'quick'"
    )
    assert run_out_at == read_forecast(kept.engine.url, "wx1").capabilities["quick"].run_out_ms
