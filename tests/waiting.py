"""Helpers that wait for a condition instead of for a time."""

import asyncio
import time
import urllib.request
from collections.abc import Callable

PAUSE_S = 0.02
"""The shortest pause. After a slow check the pause is as long as the check, which leaves half of the time to
other processes."""

WITHIN_S = 90.0
"""Time for what comes within seconds on a machine that does nothing else. A machine that works on four things
takes four times as long, and nobody waits for the rest of the time."""


async def until(condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Return once the condition holds; fail if it does not within the time."""
    deadline = time.monotonic() + within_s
    while not (check := _Check(condition)).holds:
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        await asyncio.sleep(check.pause_s)


def blocking_until(condition: Callable[[], bool], within_s: float = WITHIN_S, what: str = "") -> None:
    """The same for tests that are not asynchronous. `what` names the condition in the failure."""
    deadline = time.monotonic() + within_s
    while not (check := _Check(condition)).holds:
        assert time.monotonic() < deadline, f"not within {within_s:g} s{': ' if what else ''}{what}"
        time.sleep(check.pause_s)


def is_served(url: str) -> bool:
    """Return true if a process of the test's own answers at an address."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - an address of the test's own
            return True
    except OSError:
        return False


class _Check:
    """One check of a condition, and the pause until the next."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        began_s = time.monotonic()
        self.holds = condition()
        self.pause_s = max(PAUSE_S, time.monotonic() - began_s)
