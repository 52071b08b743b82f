"""Reference data on recent use: the months that count, the bound and its words (rule 21)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.reference_use import (
    ReferencePeriod,
    bound_of_average,
    calls_in_words,
    reference_period,
    use_for_reference,
    use_in_notice,
)
from metering.times import EARLIEST_MS, LATEST_MS, parse_time

NOW_MS = parse_time("2026-03-10T10:00:00+08:00")


@pytest.mark.parametrize(
    ("calls", "months", "bound"),
    [
        (0, 3, 50),
        (150, 3, 50),
        (151, 3, 100),
        (300, 3, 100),
        (301, 3, 500),
        (500, 1, 500),
        (501, 1, 1_000),
        (4_999, 1, 5_000),
        (5_001, 1, 10_000),
        (10_000_001, 1, 50_000_000),
    ],
)
def test_an_average_of_exactly_the_bound_is_within_it(calls: int, months: int, bound: int) -> None:
    assert bound_of_average(calls, months) == bound


@given(st.integers(0, 10**15), st.integers(1, 3))
def test_the_bound_holds_the_average_and_the_next_smaller_one_does_not(calls: int, months: int) -> None:
    bound = bound_of_average(calls, months)
    assert str(bound).rstrip("0") in {"1", "5"}
    assert calls <= bound * months
    smaller = bound // (2 if str(bound).startswith("1") else 5)
    assert bound == 50 or calls > smaller * months


def test_the_average_is_of_the_three_complete_shanghai_months_before() -> None:
    assert reference_period(NOW_MS, parse_time("2025-01-01T00:00:00+08:00")) == ReferencePeriod(
        parse_time("2025-12-01T00:00:00+08:00"), parse_time("2026-03-01T00:00:00+08:00"), 3
    )


def test_months_before_the_first_use_are_left_out() -> None:
    assert reference_period(NOW_MS, parse_time("2026-01-31T23:59:59.999+08:00")) == ReferencePeriod(
        parse_time("2026-01-01T00:00:00+08:00"), parse_time("2026-03-01T00:00:00+08:00"), 2
    )


def test_the_month_begins_at_midnight_in_shanghai() -> None:
    first_of_march = parse_time("2026-02-28T16:00:00Z")
    assert reference_period(first_of_march - 1, 0).ends_ms == parse_time("2026-02-01T00:00:00+08:00")
    assert reference_period(first_of_march, 0).ends_ms == first_of_march


@pytest.mark.parametrize("first_use_ms", [None, NOW_MS, NOW_MS + 1])
def test_an_app_without_a_complete_month_is_told_by_the_month_so_far(first_use_ms: int | None) -> None:
    begins_ms = parse_time("2026-03-01T00:00:00+08:00")
    assert reference_period(NOW_MS, first_use_ms) == ReferencePeriod(begins_ms, NOW_MS, 1)


@given(st.integers(EARLIEST_MS, LATEST_MS), st.none() | st.integers(EARLIEST_MS, LATEST_MS))
def test_a_period_is_never_negative_and_never_in_the_future(now_ms: int, first_use_ms: int | None) -> None:
    period = reference_period(now_ms, first_use_ms)
    assert period.begins_ms <= period.ends_ms <= now_ms
    assert 1 <= period.months <= 3


def test_use_is_worded_as_the_platform_words_it() -> None:
    assert use_in_notice(100, "zh") == "平均每月使用约在100次以内"
    assert use_in_notice(100) == "at most about 100 calls a month on average"
    assert use_for_reference(50, "zh") == "你的小程序最近平均用量少于50次/月"
    assert use_for_reference(50) == "Your mini-program has recently used at most 50 calls a month on average."


def test_chinese_counts_large_bounds_in_ten_thousands() -> None:
    assert [calls_in_words(calls, "zh") for calls in (5_000, 10_000, 500_000, 12_345)] == [
        "5,000", "1万", "50万", "12,345",
    ]  # fmt: skip
    assert calls_in_words(10_000, "en") == "10,000"
