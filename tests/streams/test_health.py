"""The worker's verdict on itself, with clocks moved by hand."""

from metering.health import Verdict
from metering.preconditions import BrokerView
from streams.health import Health
from streams.lag import Lag
from streams.preconditions import Preconditions
from tests.streams.test_lag import NOW_S, Clock


class Worker:
    """A worker that took over partition 1 at record 100 of 150, with correct topics."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lag = Lag("records", "seconds", "held_up", self.clock, self.clock)
        self.preconditions = Preconditions(lambda: BrokerView({}))
        self.preconditions.checked = True
        self.generation = 3
        self.health = Health("phonemeter_worker_healthy", self.lag)
        self.health.watch(self.preconditions, lambda: self.generation)
        self.lag.assign({1})
        self.lag.take_over(1, 100)
        self.lag.set_end(1, 150)

    def verdict(self) -> Verdict:
        return self.health.verdict()

    def promises(self) -> list[str]:
        return [problem.promise for problem in self.verdict().problems]


def test_a_worker_is_starting_until_its_topics_are_checked_and_it_is_in_its_group() -> None:
    worker = Worker()
    worker.preconditions.checked, worker.generation = False, 0
    worker.preconditions.waiting = "Kafka does not answer: refused"
    assert worker.verdict().state == "starting"
    assert worker.verdict().problems[0].sentence == (
        "The worker is starting: Kafka does not answer: refused."
    )
    worker.preconditions.checked = True
    assert "it joins its consumer group" in worker.verdict().problems[0].sentence
    worker.generation = 1
    assert worker.verdict().state == "healthy"
    # A division in which it has no generation is no new start.
    worker.generation = -1
    assert worker.verdict().state == "healthy"


def test_a_stalled_partition_does_not_advance_and_a_moving_one_is_at_most_behind() -> None:
    worker = Worker()
    worker.clock.now_s += 61
    assert worker.promises() == ["advancing"]
    worker.lag.advance(1, 101, int(NOW_S - 3_600) * 1_000)
    assert worker.promises() == ["fresh"]
    worker.lag.advance(1, 150, int(worker.clock.now_s) * 1_000)
    assert worker.promises() == []
    worker.lag.set_end(1, 150)
    worker.clock.now_s += 3_600
    assert worker.promises() == []


def test_records_that_were_metered_since_the_end_was_asked_for_are_no_problem() -> None:
    worker = Worker()
    worker.lag.advance(1, 170, int(NOW_S) * 1_000)
    worker.clock.now_s += 120
    assert worker.promises() == []


def test_one_long_open_transaction_is_a_problem_and_many_short_ones_are_not() -> None:
    worker = Worker()
    worker.lag.advance(1, 150, int(NOW_S) * 1_000)
    for end in (150, 151, 152):
        worker.lag.set_end(1, end, held_up=5)
        worker.lag.advance(1, end, int(worker.clock.now_s) * 1_000)
        worker.clock.now_s += 40
    assert worker.promises() == []
    worker.lag.set_end(1, 152, held_up=9)
    worker.clock.now_s += 40
    assert worker.promises() == ["advancing"]
    assert "9 records cannot be read" in worker.verdict().problems[0].sentence
    worker.lag.set_end(1, 161)
    worker.lag.advance(1, 161, int(worker.clock.now_s) * 1_000)
    assert worker.promises() == []


def test_a_partition_that_is_assigned_and_not_taken_over_is_a_problem() -> None:
    worker = Worker()
    worker.lag.advance(1, 150, int(NOW_S) * 1_000)
    worker.lag.assign({1, 2})
    worker.clock.now_s += 61
    worker.lag.assign({1, 2})
    assert [problem.partition for problem in worker.verdict().problems] == [2]
    worker.lag.take_over(2, 0)
    assert worker.promises() == []
    worker.lag.assign({1})
    worker.clock.now_s += 61
    assert worker.promises() == []
