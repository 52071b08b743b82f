"""What a process that stood still may still believe it owns."""

import pytest

from streams import stall_guard
from streams.stall_guard import StalledError, StallGuard


class Hand:
    """A clock moved by hand, and the division of the group that the process knows of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.generation = 1
        monkeypatch.setattr(stall_guard, "monotonic", lambda: self.now_s)
        self.guard = StallGuard(lambda: self.generation)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    return Hand(monkeypatch)


def test_a_short_pause_is_no_stall(hand: Hand) -> None:
    hand.now_s = stall_guard.STALL_MAX_S
    hand.guard.check()


def test_a_stall_is_remembered(hand: Hand) -> None:
    hand.now_s = 10.0
    for _ in range(2):
        with pytest.raises(StalledError, match=r"stood still for 10\.0 s"):
            hand.guard.check()
        hand.now_s += 0.1


def test_a_division_that_came_after_the_stall_ends_it(hand: Hand) -> None:
    hand.now_s = 10.0
    with pytest.raises(StalledError):
        hand.guard.check()
    hand.generation = 2
    hand.guard.forget(2)
    hand.guard.check()


def test_a_division_that_came_before_the_stall_does_not_end_it(hand: Hand) -> None:
    hand.generation = 2
    hand.now_s = 10.0
    hand.guard.forget(2)
    with pytest.raises(StalledError):
        hand.guard.check()
