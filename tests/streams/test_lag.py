"""The worker's lag in records and in seconds, with a clock moved by hand."""

from streams.lag import Lag

NOW_S = 10_000.0


class Clock:
    """Seconds since 1970 that pass when told."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def told(lag: Lag) -> dict[str, dict[str, float]]:
    """Records and seconds by partition."""
    return {
        family.name: {sample.labels["partition"]: sample.value for sample in family.samples}
        for family in lag.collect()
    }


def lagging(clock: Clock) -> Lag:
    lag = Lag("records", "seconds", clock)
    lag.taken_over(1, 100)
    lag.ends_at(1, 150)
    return lag


def test_nothing_is_told_before_the_end_of_the_log_is_known() -> None:
    lag = Lag("records", "seconds", Clock())
    lag.taken_over(1, 100)
    assert told(lag) == {"records": {}, "seconds": {}}


def test_a_worker_that_hangs_after_taking_over_lags_more_and_more() -> None:
    clock = Clock()
    lag = lagging(clock)
    clock.now_s += 30
    assert told(lag) == {"records": {"1": 50}, "seconds": {"1": 30}}


def test_a_backlog_is_as_old_as_the_newest_metered_record() -> None:
    clock = Clock()
    lag = lagging(clock)
    lag.metered(1, 120, int(NOW_S - 3_600) * 1_000)
    assert told(lag) == {"records": {"1": 30}, "seconds": {"1": 3_600}}


def test_where_nothing_waits_the_lag_is_nothing_however_old_the_newest_record() -> None:
    clock = Clock()
    lag = lagging(clock)
    lag.metered(1, 150, int(NOW_S - 3_600) * 1_000)
    lag.ends_at(1, 150)
    clock.now_s += 600
    assert told(lag) == {"records": {"1": 0}, "seconds": {"1": 0}}


def test_what_comes_after_a_rest_has_waited_since_the_end_was_last_seen_at_most() -> None:
    clock = Clock()
    lag = lagging(clock)
    lag.metered(1, 150, int(NOW_S - 3_600) * 1_000)
    clock.now_s += 600
    lag.ends_at(1, 150)
    clock.now_s += 2
    lag.ends_at(1, 151)
    assert told(lag) == {"records": {"1": 1}, "seconds": {"1": 2}}


def test_records_that_were_metered_since_the_end_was_asked_do_not_count_below_nothing() -> None:
    clock = Clock()
    lag = lagging(clock)
    lag.metered(1, 170, int(NOW_S) * 1_000)
    assert told(lag) == {"records": {"1": 0}, "seconds": {"1": 0}}


def test_a_partition_that_went_to_another_worker_is_not_told_any_more() -> None:
    lag = lagging(Clock())
    lag.taken_over(2, 0)
    lag.ends_at(2, 0)
    assert lag.keep_only({2}) == {1}
    lag.ends_at(1, 200)
    assert told(lag) == {"records": {"2": 0}, "seconds": {"2": 0}}
