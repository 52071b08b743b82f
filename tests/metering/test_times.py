"""Times: UTC milliseconds internally, RFC 3339 in events, Shanghai days for people (rule 12)."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.rules import BILLING_START_MS
from metering.times import (
    EARLIEST_MS,
    LATEST_MS,
    SHANGHAI,
    format_time,
    from_ms,
    parse_time,
    shanghai_date,
    shanghai_day,
    to_ms,
)

moments_ms = st.integers(EARLIEST_MS, LATEST_MS)


@given(moments_ms)
def test_a_time_that_is_written_is_read_back_to_the_millisecond(time_ms: int) -> None:
    assert parse_time(format_time(time_ms)) == time_ms
    assert to_ms(from_ms(time_ms)) == time_ms


@given(moments_ms, st.integers(0, 999))
def test_what_is_finer_than_a_millisecond_is_cut_off(time_ms: int, microseconds: int) -> None:
    assert to_ms(from_ms(time_ms) + timedelta(microseconds=microseconds)) == time_ms


@given(moments_ms)
def test_the_day_in_shanghai_is_that_of_the_time_zone_database(time_ms: int) -> None:
    day = from_ms(time_ms).astimezone(ZoneInfo("Asia/Shanghai")).date()
    assert shanghai_date(time_ms) == day
    assert shanghai_day(time_ms) == (day - date(1970, 1, 1)).days


def test_a_day_in_shanghai_begins_at_16_oclock_utc() -> None:
    midnight = parse_time("2023-08-26T00:00:00+08:00")
    assert midnight == parse_time("2023-08-25T16:00:00Z") == BILLING_START_MS
    assert shanghai_date(midnight) == date(2023, 8, 26)
    assert shanghai_date(midnight - 1) == date(2023, 8, 25)


def test_the_named_zone_is_eight_hours_ahead() -> None:
    assert datetime(2024, 7, 1, tzinfo=SHANGHAI) == datetime(2024, 6, 30, 16, tzinfo=UTC)


def test_a_time_is_written_in_utc_with_milliseconds() -> None:
    assert format_time(parse_time("2026-10-17T18:05:03.12+08:00")) == "2026-10-17T10:05:03.120Z"


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-10-17T25:00:00Z", "17.10.2026"]
)
def test_what_is_no_time_is_an_error_that_shows_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; write it like 2026"):
        parse_time(text)


@pytest.mark.parametrize("text", ["2026-10-17", "2026-10-17T10:05:03", "2026-10-17 10:05"])
def test_a_time_without_a_zone_is_an_error_that_asks_for_one(text: str) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        parse_time(text)
