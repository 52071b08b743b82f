"""An attempt ends in time for its caller, and what hangs is neither doubled nor piled up."""

import threading
from collections.abc import Iterator

import pytest

from sinks.notifier.bounding import LEFT_MAX, Bounded
from sinks.notifier.planning import Outcome
from tests.waiting import blocking_until

TAKEN = Outcome(delivered=True, reason="answered 204")
REFUSED = Outcome(delivered=False, reason="answered 500")


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """What hanging attempts of a test wait for."""
    event = threading.Event()
    yield event
    event.set()


def refuse() -> Outcome:
    return REFUSED


def test_what_an_attempt_says_is_returned_and_what_it_raises_is_raised() -> None:
    bounded = Bounded(5)
    assert bounded.make("hook", "m", lambda: TAKEN) == TAKEN
    with pytest.raises(ZeroDivisionError):
        bounded.make("hook", "m", lambda: Outcome(delivered=bool(1 // 0), reason=""))


def test_a_message_is_not_attempted_again_while_its_last_attempt_hangs(over: threading.Event) -> None:
    bounded = Bounded(0.05)

    def hang() -> Outcome:
        over.wait()
        return REFUSED

    assert bounded.make("mail", "m", hang).reason == "no end within 0.05 s; it may arrive"
    again = bounded.make("mail", "m", refuse)
    assert again.reason == "an earlier attempt has not ended yet; it may arrive"
    assert bounded.make("mail", "another", lambda: TAKEN) == TAKEN
    over.set()
    blocking_until(lambda: bounded.make("mail", "m", refuse) == REFUSED, within_s=5)


def test_what_was_delivered_after_its_time_is_not_sent_again(over: threading.Event) -> None:
    bounded = Bounded(0.05)
    sent = []

    def hang() -> Outcome:
        over.wait()
        sent.append("late")
        return TAKEN

    def send() -> Outcome:
        sent.append("again")
        return TAKEN

    assert not bounded.make("mail", "m", hang).delivered
    over.set()
    blocking_until(lambda: bounded.make("mail", "m", send) == TAKEN, within_s=5)
    assert sent == ["late"]


def test_hanging_attempts_do_not_pile_up(over: threading.Event) -> None:
    bounded = Bounded(0.02)

    def hang() -> Outcome:
        over.wait()
        return TAKEN

    for number in range(LEFT_MAX):
        assert bounded.make("mail", str(number), hang).reason.startswith("no end within")
    assert bounded.make("mail", "more", refuse).reason == "8 earlier attempts of the route have not ended"
    assert bounded.make("another", "more", refuse) == REFUSED
