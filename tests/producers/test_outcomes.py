"""Outcomes are counted by event, not by attempt."""

from producers.errors import DeliveryError
from producers.outcomes import Failures, Outcomes

EVENT, OTHER = ("wx1", "a"), ("wx2", "a")
FIRST, SECOND = DeliveryError("first"), DeliveryError("second")


def test_a_failure_is_told_once() -> None:
    outcomes = Outcomes()
    for event, failure in ((EVENT, FIRST), (OTHER, SECOND)):
        outcomes.begin(event)
        outcomes.settle(event, failure)
    assert outcomes.take_failures() == Failures(2, FIRST)
    assert outcomes.take_failures() == Failures(0, None)


def test_an_event_that_was_delivered_in_the_end_has_not_failed() -> None:
    outcomes = Outcomes()
    for failure in (FIRST, SECOND, None):
        outcomes.begin(EVENT)
        outcomes.settle(EVENT, failure)
    assert outcomes.take_failures() == Failures(0, None)


def test_it_has_not_failed_either_where_the_confirmed_attempt_ended_before_the_failed_one() -> None:
    outcomes = Outcomes()
    outcomes.begin(EVENT)
    outcomes.begin(EVENT)
    outcomes.settle(EVENT, None)
    outcomes.settle(EVENT, FIRST)
    assert outcomes.take_failures() == Failures(0, None)


def test_one_that_fails_again_counts_once() -> None:
    outcomes = Outcomes()
    for failure in (FIRST, SECOND):
        outcomes.begin(EVENT)
        outcomes.settle(EVENT, failure)
    assert outcomes.take_failures() == Failures(1, FIRST)


def test_more_failures_than_can_be_told_apart_are_counted() -> None:
    outcomes = Outcomes(failed_max=1)
    for number in range(3):
        outcomes.begin(("wx1", str(number)))
        outcomes.settle(("wx1", str(number)), FIRST)
    assert outcomes.take_failures() == Failures(3, FIRST)
    assert outcomes.take_failures() == Failures(0, None)


def test_nothing_is_kept_of_what_was_delivered() -> None:
    outcomes = Outcomes()
    outcomes.begin(EVENT)
    outcomes.settle(EVENT, None)
    assert not outcomes._in_flight
    assert not outcomes._failed
