"""The forecast: pace and shape of a week, run-out, lapses, next pack, and lower error than the mean."""

from collections.abc import Sequence
from functools import cache
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.forecast import Series, Year, back_test, naive, series_of
from metering.catalogue import DEFAULT, Offer
from metering.forecast import HORIZON_DAYS, MICRO, Forecast, OpenPack, Pace, forecast, pace_of
from metering.times import DAY_MS, SHANGHAI_OFFSET_MS

MONDAY = 19_723
"""2024-01-01 in Shanghai."""

NOW_MS = MONDAY * DAY_MS - SHANGHAI_OFFSET_MS
FLAT = (1_000,) * 7
TEN_A_DAY = Pace(10 * MICRO, FLAT, 56, 0)


def pack(name: str, remaining: int, expires_day: float, starts_day: float = -30) -> OpenPack:
    return OpenPack(NOW_MS + int(expires_day * DAY_MS), NOW_MS + int(starts_day * DAY_MS), name, remaining)


def of_quick(
    packs: Sequence[OpenPack], *, trial: int = 0, pace: Pace = TEN_A_DAY, catalogue: Sequence[Offer] = ()
) -> Forecast:
    return forecast({"quick": pace}, trial, {"quick": packs}, NOW_MS, catalogue)["quick"]


def days_until(time_ms: int | None) -> float:
    assert time_ms is not None
    return (time_ms - NOW_MS) / DAY_MS


def test_the_same_use_every_day_has_no_shape_and_that_mean() -> None:
    pace = pace_of([10] * 56, MONDAY - 1)
    assert pace.micro_calls_a_day == 10 * MICRO
    assert pace.shape_permille == FLAT


def test_a_week_has_its_shape_on_the_right_weekdays() -> None:
    week = [100, 100, 100, 100, 100, 200, 300]
    pace = pace_of(week * 8, MONDAY - 1)
    assert pace.micro_calls_a_day == sum(week) * MICRO // 7
    expected = [pace.of_day(MONDAY + n) / MICRO for n in range(7)]
    assert expected == pytest.approx(week, rel=0.1)
    shifted = pace_of([*week * 8, *week[:3]], MONDAY + 2)
    assert [shifted.of_day(MONDAY + 7 + n) / MICRO for n in range(7)] == pytest.approx(week, rel=0.12)


def test_days_without_use_are_part_of_the_mean() -> None:
    assert pace_of([0, 0, 0, 0, 0, 0, 70] * 4, MONDAY - 1).micro_calls_a_day == pytest.approx(
        20 / 7 * MICRO, abs=1
    )


def test_newer_weeks_count_more_than_older_ones() -> None:
    pace = pace_of([10] * 28 + [20] * 28, MONDAY - 1)
    assert 17 * MICRO < pace.micro_calls_a_day < 20 * MICRO


def test_a_bot_of_one_day_does_not_raise_the_pace_for_weeks() -> None:
    calm = pace_of([30] * 56, MONDAY - 1).micro_calls_a_day
    assert pace_of([30] * 50 + [2_000] + [30] * 5, MONDAY - 1).micro_calls_a_day < calm * 12 // 10


def test_an_app_without_use_runs_out_of_nothing() -> None:
    found = of_quick([pack("p", 250, 30)], pace=pace_of([0] * 30, MONDAY - 1), catalogue=DEFAULT)
    assert (found.run_out_ms, found.earliest_ms, found.latest_ms) == (None, None, None)
    assert found.packs[0].lapsing == 250
    assert {option.micro_yuan_per_used_call for option in found.options} == {None}


def test_no_history_at_all_is_no_use() -> None:
    assert pace_of([], MONDAY - 1) == Pace(0, FLAT, 0, 0)


def test_calls_last_until_trial_and_packs_are_used_up() -> None:
    found = of_quick([pack("p", 50, 300)], trial=25)
    assert days_until(found.run_out_ms) == pytest.approx(7.5)
    assert found.earliest_ms == found.latest_ms == found.run_out_ms


def test_packs_burn_by_expiry_and_what_is_left_then_lapses() -> None:
    found = of_quick([pack("later", 100, 20), pack("sooner", 150, 10)])
    assert [(one.pack_id, one.used, one.lapsing) for one in found.packs] == [
        ("sooner", 100, 50),
        ("later", 100, 0),
    ]
    assert days_until(found.run_out_ms) == pytest.approx(20)


def test_a_pack_that_expires_at_noon_is_used_until_noon() -> None:
    (one,) = of_quick([pack("p", 150, 9.5)]).packs
    assert (one.used, one.lapsing) == (95, 55)


def test_a_pack_that_starts_at_noon_is_used_from_noon_on() -> None:
    (one,) = of_quick([pack("p", 150, 9.5, starts_day=1.5)]).packs
    assert (one.used, one.lapsing) == (80, 70)


def test_a_pack_that_starts_too_late_leaves_a_gap_and_is_used_after_it() -> None:
    found = of_quick([pack("now", 30, 100), pack("later", 40, 100, starts_day=5)])
    assert days_until(found.run_out_ms) == pytest.approx(3)
    assert [one.used for one in found.packs] == [30, 40]


def test_capabilities_share_one_trial_and_keep_their_packs() -> None:
    paces = {"quick": TEN_A_DAY, "realtime": TEN_A_DAY.scaled(3_000)}
    found = forecast(paces, 80, {"quick": [pack("q", 10, 99)], "realtime": [pack("r", 60, 99)]}, NOW_MS)
    assert days_until(found["quick"].run_out_ms) == pytest.approx(3)
    assert days_until(found["realtime"].run_out_ms) == pytest.approx(4)


def test_what_is_not_used_up_within_the_horizon_does_not_run_out() -> None:
    assert of_quick([], trial=10 * HORIZON_DAYS + 1).run_out_ms is None


def test_the_interval_holds_the_run_out_and_narrows_with_the_distance() -> None:
    pace = pace_of([8, 14, 9, 11, 7, 13, 8] * 8, MONDAY - 1)
    widths = []
    for days in (5, 50):
        found = of_quick([pack("p", 10 * days, 900)], pace=pace)
        earliest, expected, latest = map(days_until, (found.earliest_ms, found.run_out_ms, found.latest_ms))
        assert earliest < expected < latest
        widths.append((latest - earliest) / days)
    assert widths[1] < widths[0]


def test_the_next_pack_is_the_cheapest_by_used_calls_and_not_by_bought_ones() -> None:
    found = of_quick([pack("p", 100, 300)], catalogue=DEFAULT)
    best = found.options[0]
    assert (best.offer.calls, best.used, best.micro_yuan_per_used_call) == (1_000, 1_000, 30_000)
    per_bought = min(DEFAULT, key=lambda offer: offer.price_micro_yuan / offer.calls)
    wasted = next(option for option in found.options if option.offer == per_bought)
    assert wasted.used == 3_650
    assert wasted.micro_yuan_per_used_call == -(-per_bought.price_micro_yuan // 3_650)


def test_a_busy_app_is_told_the_pack_with_the_discount() -> None:
    found = of_quick([], pace=TEN_A_DAY.scaled(1_000_000), catalogue=DEFAULT)
    assert found.options[0].offer.calls == 1_000_000
    assert found.options[0].micro_yuan_per_used_call == 28_000


def test_uncertain_use_makes_a_smaller_pack_the_better_one() -> None:
    certain = of_quick([], pace=Pace(14 * MICRO, FLAT, 56, 0), catalogue=DEFAULT)
    doubtful = of_quick([], pace=Pace(14 * MICRO, FLAT, 7, 60 * MICRO), catalogue=DEFAULT)
    used = {option.offer.calls: option.used for option in doubtful.options}
    assert used[5_000] < next(one.used for one in certain.options if one.offer.calls == 5_000)


def test_offers_of_another_capability_are_none() -> None:
    found = forecast({"realtime": TEN_A_DAY}, 0, {}, NOW_MS, DEFAULT)
    assert found["realtime"].options == ()


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(-5, 400), st.integers(-40, 60)), max_size=6),
    st.lists(st.integers(0, 60), max_size=70),
    st.integers(0, 1_000),
    st.integers(0, 2 * DAY_MS),
)
def test_every_call_held_is_used_or_lapses_and_the_interval_is_in_order(
    packs: list[tuple[int, int, int]], daily: list[int], trial: int, later_ms: int
) -> None:
    held = [pack(f"p{n}", calls, end, start) for n, (calls, end, start) in enumerate(packs)]
    found = forecast({"quick": pace_of(daily, MONDAY - 1)}, trial, {"quick": held}, NOW_MS + later_ms)[
        "quick"
    ]
    assert [one.remaining for one in found.packs] == [one.remaining for one in sorted(held)]
    for one in found.packs:
        assert one.used + one.lapsing == one.remaining
        assert 0 <= one.used <= one.remaining
    never_ms = NOW_MS + 2 * HORIZON_DAYS * DAY_MS
    early, middle, late = (at or never_ms for at in (found.earliest_ms, found.run_out_ms, found.latest_ms))
    assert early <= middle <= late


@cache
def year() -> dict[tuple[str, str], Series]:
    """The small back-test: half a year of three apps, metered by the rules."""
    return series_of(Year("small", seed=4, taps_a_month=4_000, months=6, apps=3))


@given(
    st.lists(st.integers(0, 90), min_size=60, max_size=60),
    st.lists(st.integers(0, 9), min_size=60, max_size=60),
    st.integers(0, 3_000),
    st.lists(
        st.tuples(st.integers(1, 20_000), st.floats(-40, 500), st.floats(1, 400), st.booleans()), max_size=5
    ),
    st.integers(0, DAY_MS),
)
def test_whole_weeks_at_once_come_to_what_day_by_day_comes_to(
    busy: list[int],
    calm: list[int],
    trial: int,
    packs: list[tuple[int, float, float, bool]],
    into_the_day_ms: int,
) -> None:
    paces = {"quick": pace_of(busy, MONDAY - 1), "realtime": pace_of(calm, MONDAY - 1)}
    held: dict[str, list[OpenPack]] = {"quick": [], "realtime": []}
    for number, (remaining, starts, length, is_quick) in enumerate(packs):
        held["quick" if is_quick else "realtime"].append(
            pack(f"p{number}", remaining, starts + length, starts)
        )
    now_ms = NOW_MS + into_the_day_ms
    by_weeks = forecast(paces, trial, held, now_ms)
    with patch("metering.forecast._play_weeks", lambda _, left, *__: (left, 0)):
        assert forecast(paces, trial, held, now_ms) == by_weeks


@pytest.mark.parametrize("horizon_days", [3, 7, 14])
def test_the_forecast_beats_the_naive_mean_of_seven_days(horizon_days: int) -> None:
    ours, theirs = (back_test(year(), forecaster, horizon_days) for forecaster in (pace_of, naive))
    assert ours.cases == theirs.cases > 100
    assert ours.calls_percent < 0.9 * theirs.calls_percent
    assert ours.run_out_hours < 0.9 * theirs.run_out_hours
    assert 65 < ours.inside_percent < 95


def test_the_back_test_finds_out_a_forecaster_that_is_wrong() -> None:
    """Paces with the week shifted by three days or at half height lose; a perfect one is hardly off."""
    ours = back_test(year(), pace_of, 3)
    assert (
        back_test(year(), lambda daily, day: pace_of(daily, day + 3), 3).calls_percent
        > 1.2 * ours.calls_percent
    )
    halved = back_test(year(), lambda daily, day: pace_of(daily, day).scaled(500), 3)
    assert halved.calls_percent > 2 * ours.calls_percent
    assert halved.inside_percent < ours.inside_percent / 2
    truth = {tuple(daily[:at]): daily[at:] for _, daily in year().values() for at in range(len(daily))}

    def seer(daily: Sequence[int], _: int) -> Pace:
        return Pace(sum(truth[tuple(daily)][:7]) * MICRO // 7, FLAT, 56, 0)

    seen = back_test(year(), seer, 7)
    assert seen.calls_percent < 1
    assert seen.run_out_hours < 1
