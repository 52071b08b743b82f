from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.times import DAY_MS, HOUR_MS
from sinks.notifier.schedule import PAUSE_MS_MAX, Policy, next_attempt_ms

POLICY = Policy(first_ms=5_000, for_ms=DAY_MS)


def attempts(delivery_id: str, retry_after_ms: int | None = None) -> list[int]:
    """Times of the attempts of a delivery whose receiver never answers, from the first one at 0."""
    times = [0]
    while (at := next_attempt_ms(POLICY, delivery_id, len(times), 0, times[-1], retry_after_ms)) is not None:
        times.append(at)
    return times


@settings(deadline=None)
@given(st.text())
def test_pauses_double_with_jitter_up_to_two_hours_for_a_day(delivery_id: str) -> None:
    times = attempts(delivery_id)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    for number, pause in enumerate(pauses):
        bare = min(5_000 * 2**number, PAUSE_MS_MAX)
        assert bare <= pause <= bare * 1.2
    assert times[-1] <= DAY_MS < times[-1] + 1.2 * PAUSE_MS_MAX
    assert 20 <= len(times) <= 23


def test_another_notifier_computes_the_same_times_and_deliveries_have_different_ones() -> None:
    assert attempts("alert_0-7-0_a") == attempts("alert_0-7-0_a") != attempts("alert_0-7-0_b")


@settings(deadline=None)
@given(st.integers(0, 3 * DAY_MS), st.integers(0, 2 * DAY_MS), st.integers(1, 40))
def test_a_receiver_is_left_alone_for_as_long_as_it_asks_within_the_day(
    asked_ms: int, now_ms: int, failed: int
) -> None:
    at_ms = next_attempt_ms(POLICY, "delivery", failed, 0, now_ms, asked_ms)
    if at_ms is None:
        assert now_ms + 1.2 * PAUSE_MS_MAX > DAY_MS
    else:
        assert now_ms + min(asked_ms, DAY_MS - now_ms) <= at_ms <= DAY_MS


def test_one_who_asks_for_a_week_gets_a_last_attempt_at_the_end_of_the_day() -> None:
    assert attempts("delivery", 7 * DAY_MS) == [0, DAY_MS]
    assert attempts("delivery", HOUR_MS)[1] == HOUR_MS


@settings(deadline=None)
@given(st.integers(0, DAY_MS), st.integers(0, 2 * DAY_MS), st.integers(1, 40))
def test_a_receiver_that_asks_for_less_than_the_pause_is_not_tried_sooner(
    asked_ms: int, now_ms: int, failed: int
) -> None:
    at_ms = next_attempt_ms(POLICY, "delivery", failed, 0, now_ms, asked_ms)
    without_ms = next_attempt_ms(POLICY, "delivery", failed, 0, now_ms)
    if at_ms is not None and without_ms is not None:
        assert at_ms >= without_ms


def test_a_receiver_that_asks_to_be_tried_at_once_waits_out_the_pause() -> None:
    assert attempts("delivery", 0) == attempts("delivery")
