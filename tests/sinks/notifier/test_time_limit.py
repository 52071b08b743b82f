"""An attempt ends in time for its caller; abandoned ones are neither repeated nor pile up."""

import threading
from collections.abc import Iterator

import pytest

from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.time_limit import ABANDONED_MAX, TimeLimit
from tests.waiting import WITHIN_S, blocking_until

TAKEN = AttemptOutcome(delivered=True, reason="answered 204")
REFUSED = AttemptOutcome(delivered=False, reason="answered 500")


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """The event that the hanging attempts of a test wait for."""
    event = threading.Event()
    yield event
    event.set()


def refuse() -> AttemptOutcome:
    return REFUSED


def test_the_outcome_of_an_attempt_is_returned_and_its_exception_is_raised() -> None:
    limit = TimeLimit(5)
    assert limit.run("hook", "m", lambda: TAKEN) == TAKEN
    with pytest.raises(ZeroDivisionError):
        limit.run("hook", "m", lambda: AttemptOutcome(delivered=bool(1 // 0), reason=""))


def test_a_message_is_not_attempted_again_while_its_last_attempt_hangs(over: threading.Event) -> None:
    limit = TimeLimit(0.05)

    def hang() -> AttemptOutcome:
        over.wait()
        return REFUSED

    assert limit.run("mail", "m", hang).reason == "no end within 0.05 s; it may arrive"
    again = limit.run("mail", "m", refuse)
    assert again.reason == "an earlier attempt has not ended yet; it may arrive"
    limit._timeout_s = WITHIN_S
    assert limit.run("mail", "another", lambda: TAKEN) == TAKEN
    over.set()
    blocking_until(lambda: limit.run("mail", "m", refuse) == REFUSED)


def test_what_was_delivered_after_its_time_is_not_sent_again(over: threading.Event) -> None:
    limit = TimeLimit(0.05)
    sent = []

    def hang() -> AttemptOutcome:
        over.wait()
        sent.append("late")
        return TAKEN

    def send() -> AttemptOutcome:
        sent.append("again")
        return TAKEN

    assert not limit.run("mail", "m", hang).delivered
    over.set()
    blocking_until(lambda: limit.run("mail", "m", send) == TAKEN)
    assert sent == ["late"]


def test_hanging_attempts_do_not_pile_up(over: threading.Event) -> None:
    limit = TimeLimit(0.02)

    def hang() -> AttemptOutcome:
        over.wait()
        return TAKEN

    for number in range(ABANDONED_MAX):
        assert limit.run("mail", str(number), hang).reason.startswith("no end within")
    limit._timeout_s = WITHIN_S
    assert limit.run("mail", "more", refuse).reason == "8 earlier attempts of the route have not ended"
    assert limit.run("another", "more", refuse) == REFUSED
