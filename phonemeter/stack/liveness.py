"""Liveness checks of a process that was ready."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from phonemeter.stack.probes import Probe


@dataclass(frozen=True, slots=True)
class Liveness:
    """A liveness check.

    Attributes:
        probe: returns whether the process works.
        interval_s: pause between two probes.
        give_up_s: time without an answer after which a process is restarted; longer than a busy machine, a
            large query or the restore of a state may take.
    """

    probe: Probe
    interval_s: float = 5.0
    give_up_s: float = 60.0


async def until_silent(
    liveness: Liveness, no_answer: Callable[[], None], answered: Callable[[], None]
) -> None:
    """Probe the process until it has not answered for too long, and call a function after each probe."""
    last_s = time.monotonic()
    while time.monotonic() - last_s < liveness.give_up_s:
        await asyncio.sleep(liveness.interval_s)
        if await _answers(liveness.probe):
            last_s = time.monotonic()
            answered()
        else:
            no_answer()


async def _answers(probe: Probe) -> bool:
    try:
        return await probe()
    except Exception:  # noqa: BLE001 - any error of a client means that there was no answer
        return False
