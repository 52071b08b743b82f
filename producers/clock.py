"""The time now, against which the times of events are held."""

import time


def wall_clock_ms() -> int:
    """The time now, in UTC milliseconds."""
    return time.time_ns() // 1_000_000
