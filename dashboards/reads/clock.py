"""The moment that the views take for now."""

from typing import Final, NamedTuple

from dashboards.reads.asking import Ask
from metering.times import to_ms

_CLOCK: Final = "SELECT now, runs_on FROM clock"


class ClockReading(NamedTuple):
    """The present moment, and whose clock the log runs on: `wall`, or `events` in a past that is played."""

    now_ms: int
    runs_on: str


def read_clock(ask: Ask) -> ClockReading:
    """The present moment."""
    ((now, runs_on),) = ask(_CLOCK)
    return ClockReading(to_ms(now), runs_on)
