"""Waiting for a condition instead of for a time."""

import asyncio
import time
from collections.abc import Callable

PAUSE_S = 0.02


async def until(condition: Callable[[], bool], within_s: float) -> None:
    """Return once the condition holds; fail if it does not within the time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        await asyncio.sleep(PAUSE_S)


def blocking_until(condition: Callable[[], bool], within_s: float) -> None:
    """The same for tests that are not asynchronous."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        time.sleep(PAUSE_S)
