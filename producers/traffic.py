"""The times of taps: the shape of a week of mini-program traffic, in slots with exact counts."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from metering.times import SHANGHAI_OFFSET_MS

SLOT_MS: Final = 60_000
MINUTES_PER_WEEK: Final = 10_080
EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""

HOUR_WEIGHTS: Final = (
    *(12, 7, 4, 3, 3, 6, 15, 35, 60, 85, 110, 140),
    *(160, 130, 110, 105, 110, 135, 170, 185, 175, 140, 90, 40),
)
"""Activity at each full hour in Shanghai: a noon peak and a larger one in the evening."""

WEEKDAY_WEIGHTS: Final = (92, 90, 92, 95, 108, 125, 118)
"""Activity from Monday to Sunday: stores are busiest at the weekend."""


def _week() -> tuple[int, ...]:
    weights = []
    for minute in range(MINUTES_PER_WEEK):
        hour, past = divmod(minute % 1_440, 60)
        level = HOUR_WEIGHTS[hour] * (60 - past) + HOUR_WEIGHTS[(hour + 1) % 24] * past
        weights.append(level * WEEKDAY_WEIGHTS[minute // 1_440])
    return tuple(weights)


WEEK: Final = _week()
"""Activity in each minute of a Shanghai week. Integers, so that sums are the same on every machine."""


class Slot(NamedTuple):
    """A period of at most a minute, with its number of taps."""

    start_ms: int
    length_ms: int
    taps: int


FLAT: Final = (1,) * MINUTES_PER_WEEK
"""The same activity at all times, for load tests and for demonstrations at night."""


def slots_of_total(
    start_ms: int, duration_ms: int, taps: int, week: tuple[int, ...] = WEEK
) -> Iterator[Slot]:
    """Exactly `taps` taps spread over a period."""
    total = sum(length_ms * weight for _, length_ms, weight in _stretches(start_ms, duration_ms, week))
    return _filled(_stretches(start_ms, duration_ms, week), taps, total)


def slots_of_rate(
    start_ms: int, duration_ms: int | None, taps_per_million_s: int, week: tuple[int, ...] = WEEK
) -> Iterator[Slot]:
    """Taps at a rate that is the mean of a whole week, for a period or without end."""
    stretches = _stretches(start_ms, duration_ms, week)
    return _filled(stretches, taps_per_million_s * MINUTES_PER_WEEK, sum(week) * 10**9)


def _stretches(
    start_ms: int, duration_ms: int | None, week: tuple[int, ...]
) -> Iterator[tuple[int, int, int]]:
    time_ms = start_ms
    while duration_ms is None or time_ms < start_ms + duration_ms:
        length_ms = SLOT_MS if duration_ms is None else min(SLOT_MS, start_ms + duration_ms - time_ms)
        shanghai_minute = (time_ms + SHANGHAI_OFFSET_MS) // 60_000 + EPOCH_WEEKDAY * 1_440
        yield time_ms, length_ms, week[shanghai_minute % MINUTES_PER_WEEK]
        time_ms += length_ms


def _filled(stretches: Iterator[tuple[int, int, int]], numerator: int, denominator: int) -> Iterator[Slot]:
    reached = 0
    filled = 0
    for start_ms, length_ms, weight in stretches:
        reached += length_ms * weight
        due = reached * numerator // denominator
        yield Slot(start_ms, length_ms, due - filled)
        filled = due
