from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.times import DAY_MS, HOUR_MS, to_ms
from sinks.notifier.hours import Digest, QuietHours, due_ms, is_quiet

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(8), SHANGHAI)
NOON = QuietHours(time(12), time(14), SHANGHAI)
moments = st.integers(to_ms(datetime(2024, 1, 1, tzinfo=UTC)), to_ms(datetime(2027, 1, 1, tzinfo=UTC)))
clocks = st.times().map(lambda at: at.replace(second=0, microsecond=0))
zones = st.sampled_from([SHANGHAI, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")])


def ms(text: str) -> int:
    """Milliseconds of a Shanghai time."""
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI))


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-10-17 21:59", "2026-10-17 21:59"),
        ("2026-10-17 22:00", "2026-10-18 08:00"),
        ("2026-10-18 00:30", "2026-10-18 08:00"),
        ("2026-10-18 07:59", "2026-10-18 08:00"),
        ("2026-10-18 08:00", "2026-10-18 08:00"),
    ],
)
def test_what_happens_at_night_waits_for_the_morning(now: str, due: str) -> None:
    assert due_ms(ms(now), "warning", NIGHT, None) == ms(due)


@pytest.mark.parametrize(
    ("quiet", "now", "held"),
    [
        (NOON, "2026-10-17 11:59:59.999", False),
        (NOON, "2026-10-17 12:00:00.000", True),
        (NOON, "2026-10-17 13:59:59.999", True),
        (NOON, "2026-10-17 14:00:00.000", False),
        (NIGHT, "2026-10-17 21:59:59.999", False),
        (NIGHT, "2026-10-17 22:00:00.000", True),
        (NIGHT, "2026-10-18 07:59:59.999", True),
        (NIGHT, "2026-10-18 08:00:00.000", False),
    ],
)
def test_quiet_hours_begin_with_their_first_moment_and_are_over_at_their_last(
    quiet: QuietHours,
    now: str,
    held: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    assert is_quiet(ms(now), quiet) is held
    assert (due_ms(ms(now), "warning", quiet, None) > ms(now)) is held


def test_what_is_urgent_passes_unless_the_route_says_otherwise() -> None:
    now_ms = ms("2026-10-17 23:00")
    assert due_ms(now_ms, "urgent", NIGHT, None) == now_ms
    assert due_ms(now_ms, "urgent", NIGHT._replace(urgent_passes=False), None) == ms("2026-10-18 08:00")


def test_digests_come_every_hour_or_every_day() -> None:
    now_ms = ms("2026-10-17 10:20")
    assert due_ms(now_ms, "warning", None, Digest("hour", time(0, 15), SHANGHAI)) == ms("2026-10-17 11:15")
    assert due_ms(now_ms, "warning", None, Digest("day", time(9), SHANGHAI)) == ms("2026-10-18 09:00")
    assert due_ms(now_ms, "urgent", None, Digest("day", time(9), SHANGHAI)) == now_ms


def test_what_is_known_at_the_very_time_of_a_digest_goes_into_the_next_one() -> None:
    hourly, daily = Digest("hour", time(0, 15), SHANGHAI), Digest("day", time(9), SHANGHAI)
    assert due_ms(ms("2026-10-17 10:15"), "warning", None, hourly) == ms("2026-10-17 11:15")
    assert due_ms(ms("2026-10-17 09:00"), "warning", None, daily) == ms("2026-10-18 09:00")
    assert due_ms(ms("2026-10-17 09:00") - 1, "warning", None, daily) == ms("2026-10-17 09:00")


def test_a_digest_that_falls_into_quiet_hours_waits_for_their_end() -> None:
    digest = Digest("hour", time(0), SHANGHAI)
    assert due_ms(ms("2026-10-17 22:10"), "info", NIGHT, digest) == ms("2026-10-18 08:00")


@settings(deadline=None)
@given(moments, clocks, clocks, zones)
def test_quiet_hours_are_kept_for_no_longer_than_a_day(
    now_ms: int, begin: time, end: time, zone: ZoneInfo
) -> None:
    if begin == end:
        return
    quiet = QuietHours(begin, end, zone)
    at_ms = due_ms(now_ms, "warning", quiet, None)
    assert now_ms <= at_ms <= now_ms + DAY_MS + HOUR_MS
    assert (at_ms == now_ms) == (not is_quiet(now_ms, quiet))


@settings(deadline=None)
@given(moments, clocks, zones, st.sampled_from(["hour", "day"]))
def test_a_digest_comes_later_and_all_of_its_time_together(
    now_ms: int, at: time, zone: ZoneInfo, every: str
) -> None:
    digest = Digest("hour" if every == "hour" else "day", at, zone)
    slot_ms = due_ms(now_ms, "warning", None, digest)
    assert now_ms < slot_ms <= now_ms + (HOUR_MS if every == "hour" else DAY_MS + HOUR_MS)
    assert due_ms(slot_ms - 1, "warning", None, digest) == slot_ms


def test_nights_in_which_the_clock_jumps_end_as_well() -> None:
    quiet = QuietHours(time(22), time(2, 30), BERLIN)
    jumping_ms = to_ms(datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN))
    assert due_ms(jumping_ms, "warning", quiet, None) == to_ms(datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
