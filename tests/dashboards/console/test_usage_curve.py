"""The usage curve: its window, the time before, and what is expected, at every moment of a day."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from dashboards.console.usage_curve import usage_curve
from dashboards.console.usage_window import WINDOWS, UsageWindow, chosen_window, window_of
from dashboards.reads.usage import PeriodUsage
from metering.times import SHANGHAI, to_ms


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI))


def used(begins: str, calls: int, **more: Any) -> PeriodUsage:  # noqa: ANN401 - counts
    counts = dict.fromkeys(
        ("charged", "trial_charged", "free", "exempt", "uncovered", "denied", "failed", "duplicates"), 0
    )
    return PeriodUsage(
        begins=begins,
        capability="quick",
        succeeded=calls,
        amount_micro_yuan=30_000 * calls,
        **{**counts, **more},
    )


def window(name: str, now: str = "2024-07-01T10:30") -> UsageWindow:
    return window_of(chosen_window(name), at(now))


@pytest.mark.parametrize(
    ("name", "before", "first", "end", "points"),
    [
        ("hours", "2024-06-30", "2024-07-01", "2024-07-02", 24),
        ("week", "2024-06-18", "2024-06-25", "2024-07-02", 168),
        ("days", "2024-05-07", "2024-06-04", "2024-07-02", 28),
        ("quarter", "2024-01-02", "2024-04-02", "2024-07-02", 91),
        ("months", "2022-08-01", "2023-08-01", "2024-08-01", 12),
    ],
)
def test_a_window_ends_with_today_and_the_time_before_is_as_long(
    name: str, before: str, first: str, end: str, points: int
) -> None:
    found = window(name)
    assert (found.before.isoformat(), found.first.isoformat(), found.end.isoformat()) == (before, first, end)
    assert len(found.begins) == len(found.earlier) == points
    assert found.begins[0] == datetime.fromisoformat(first).replace(tzinfo=SHANGHAI)
    assert found.earlier[0] == datetime.fromisoformat(before).replace(tzinfo=SHANGHAI)


def test_an_unknown_window_is_the_usual_one() -> None:
    assert chosen_window("year").name == chosen_window("").name == "days"


def test_points_without_any_use_are_zero_and_those_to_come_are_open() -> None:
    curve = usage_curve(window("hours"), [used("2024-07-01T09:00:00+08:00", 4)], {})
    calls = [point.calls for point in curve.points]
    assert calls == [0] * 9 + [4, 0] + [None] * 13
    assert all(point.before == 0 and point.expected is None for point in curve.points)


def test_the_time_before_is_compared_as_far_as_the_window_has_gone() -> None:
    rows = [used("2024-06-04", 30), used("2024-07-01", 5), used("2024-05-07", 20), used("2024-06-03", 1_000)]
    totals = usage_curve(window("days"), rows, {}).totals
    assert (totals.calls, totals.before, totals.amount_micro_yuan) == (35, 1_020, 35 * 30_000)
    assert totals.change == pytest.approx((30 - 20) / 20)
    assert usage_curve(window("days"), rows[:2], {}).totals.change is None


def test_the_forecast_begins_at_the_last_day_that_is_over_and_has_the_whole_of_today() -> None:
    expected = {date(2024, 7, 1) + timedelta(days=n): 10.0 + n for n in range(30)}
    curve = usage_curve(window("days"), [used("2024-06-30", 7), used("2024-07-01", 4)], expected)
    assert len(curve.points) == 28 + 10
    assert [point.expected for point in curve.points[26:30]] == [7, 14.0, 11.0, 12.0]
    assert [point.calls for point in curve.points[26:30]] == [7, 4, None, None]
    assert all(point.expected is None for point in curve.points[:26])


def test_a_month_is_expected_to_have_its_calls_so_far_and_those_of_the_days_that_are_left() -> None:
    expected = {date(2024, 7, 11) + timedelta(days=n): 1.0 for n in range(21 + 31 + 30 + 31)}
    found = usage_curve(window("months", "2024-07-11T00:00"), [used("2024-07-01", 9)], expected)
    assert [point.expected for point in found.points[11:]] == [30.0, 31.0, 30.0, 31.0]


def test_a_month_that_the_forecast_does_not_reach_to_the_end_of_is_left_out() -> None:
    expected = {date(2024, 7, 11) + timedelta(days=n): 1.0 for n in range(40)}
    found = usage_curve(window("months", "2024-07-11T00:00"), [], expected)
    assert len(found.points) == 12


@pytest.mark.parametrize("choice", WINDOWS, ids=lambda choice: choice.name)
@pytest.mark.parametrize("now", ["2024-02-29T00:00", "2024-12-31T23:59:59.999", "2025-01-01T00:00"])
def test_the_points_of_every_window_follow_each_other_at_every_time(choice: Any, now: str) -> None:  # noqa: ANN401
    found = window_of(choice, at(now))
    points = [*found.earlier, *found.begins, *found.ahead]
    assert points == sorted(set(points))
    assert found.begins[found.ended] <= datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)
