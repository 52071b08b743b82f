"""The worker's lag in records and in seconds, with a clock moved by hand."""

from streams.lag import Lag

NOW_S = 10_000.0


class Clock:
    """A clock that the test moves, in seconds since 1970."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def values(lag: Lag) -> dict[str, dict[str, float]]:
    """Records and seconds by partition."""
    return {
        family.name: {sample.labels["partition"]: sample.value for sample in family.samples}
        for family in lag.collect()
    }


def fifty_behind(clock: Clock) -> Lag:
    lag = Lag("records", "seconds", "held_up", clock)
    lag.take_over(1, 100)
    lag.set_end(1, 150)
    return lag


def test_there_is_no_lag_before_the_end_of_the_log_is_known() -> None:
    lag = Lag("records", "seconds", "held_up", Clock())
    lag.take_over(1, 100)
    assert values(lag) == {"records": {}, "seconds": {}, "held_up": {}}


def test_a_worker_that_hangs_after_taking_over_lags_more_and_more() -> None:
    clock = Clock()
    lag = fifty_behind(clock)
    clock.now_s += 30
    assert values(lag) == {"records": {"1": 50}, "seconds": {"1": 30}, "held_up": {"1": 0}}


def test_a_backlog_is_as_old_as_the_newest_metered_record() -> None:
    clock = Clock()
    lag = fifty_behind(clock)
    lag.advance(1, 120, int(NOW_S - 3_600) * 1_000)
    assert values(lag) == {"records": {"1": 30}, "seconds": {"1": 3_600}, "held_up": {"1": 0}}


def test_the_lag_is_zero_while_nothing_waits_however_old_the_newest_record() -> None:
    clock = Clock()
    lag = fifty_behind(clock)
    lag.advance(1, 150, int(NOW_S - 3_600) * 1_000)
    lag.set_end(1, 150)
    clock.now_s += 600
    assert values(lag) == {"records": {"1": 0}, "seconds": {"1": 0}, "held_up": {"1": 0}}


def test_a_record_after_a_quiet_time_has_waited_at_most_since_the_last_look_at_the_end() -> None:
    clock = Clock()
    lag = fifty_behind(clock)
    lag.advance(1, 150, int(NOW_S - 3_600) * 1_000)
    clock.now_s += 600
    lag.set_end(1, 150)
    clock.now_s += 2
    lag.set_end(1, 151)
    assert values(lag) == {"records": {"1": 1}, "seconds": {"1": 2}, "held_up": {"1": 0}}


def test_records_that_were_metered_since_the_end_was_asked_for_do_not_make_the_lag_negative() -> None:
    clock = Clock()
    lag = fifty_behind(clock)
    lag.advance(1, 170, int(NOW_S) * 1_000)
    assert values(lag) == {"records": {"1": 0}, "seconds": {"1": 0}, "held_up": {"1": 0}}


def test_a_partition_that_went_to_another_worker_has_no_lag_any_more() -> None:
    lag = fifty_behind(Clock())
    lag.take_over(2, 0)
    lag.set_end(2, 0)
    assert lag.assign({2}) == {1}
    lag.set_end(1, 200)
    assert values(lag) == {"records": {"2": 0}, "seconds": {"2": 0}, "held_up": {"2": 0}}


def test_records_behind_an_open_transaction_are_held_up_and_no_lag() -> None:
    lag = fifty_behind(Clock())
    lag.advance(1, 150, None)
    lag.set_end(1, 150, held_up=7)
    assert values(lag) == {"records": {"1": 0}, "seconds": {"1": 0}, "held_up": {"1": 7}}


def test_offsets_without_a_record_do_not_make_the_backlog_younger() -> None:
    clock = Clock()
    lag = fifty_behind(clock)
    lag.advance(1, 120, None)
    clock.now_s += 30
    assert values(lag) == {"records": {"1": 30}, "seconds": {"1": 30}, "held_up": {"1": 0}}
