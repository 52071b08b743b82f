"""The current time, which the times of events are checked against."""

import time


def wall_clock_ms() -> int:
    """The time now, in UTC milliseconds."""
    return time.time_ns() // 1_000_000
