"""Waiting for a condition instead of for a time."""

import asyncio
import time
from collections.abc import Callable

PAUSE_S = 0.02
"""At least; a condition that takes longer to find out is asked for half of the time only, because what it
waits for, and other tests, need the processor as well."""

WITHIN_S = 30.0


async def until(condition: Callable[[], bool], within_s: float) -> None:
    """Return once the condition holds; fail if it does not within the time."""
    deadline = time.monotonic() + within_s
    while not (asked := _Asked(condition)).holds:
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        await asyncio.sleep(asked.pause_s)


def blocking_until(condition: Callable[[], bool], within_s: float = WITHIN_S, what: str = "") -> None:
    """The same for tests that are not asynchronous. `what` says in the failure what was waited for."""
    deadline = time.monotonic() + within_s
    while not (asked := _Asked(condition)).holds:
        assert time.monotonic() < deadline, f"not within {within_s:g} s{': ' if what else ''}{what}"
        time.sleep(asked.pause_s)


class _Asked:
    """A condition's answer, and how long to leave it alone."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        began_s = time.monotonic()
        self.holds = condition()
        self.pause_s = max(PAUSE_S, time.monotonic() - began_s)
