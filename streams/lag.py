"""The worker's lag behind the log, in records and in seconds, computed when Prometheus asks.

The end of a log is its last stable offset: records behind an open transaction can't be read yet, and are
counted as held up.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from metering.health_checks import ConsumerPosition
from metering.topics import EVENTS

LABELS: Final = ("partition",)


@dataclass(slots=True)
class _PartitionLag:
    """The lag of one partition.

    Attributes:
        next_offset: that is metered next.
        end: the last stable offset when it was last asked for; None before.
        behind_since_s: no waiting record arrived before this time.
        stands_since_s: the last time of progress, or at which nothing waited; by a monotonic clock.
        held_up: records behind that end.
        held_up_since_s: the first time that the open transaction was seen; by a monotonic clock.
    """

    next_offset: int
    end: int | None
    behind_since_s: float
    stands_since_s: float
    held_up: int = 0
    held_up_since_s: float = 0.0

    def waiting(self) -> int:
        return 0 if self.end is None else max(0, self.end - self.next_offset)


class Lag(Collector):
    """The lag of the partitions that this worker owns.

    In seconds it is an upper bound of the oldest record's wait: the time since the newest metered record
    arrived, since nothing waited, or since the takeover if neither is known; 0 while nothing waits.
    """

    def __init__(
        self,
        records: str,
        seconds: str,
        held_up: str,
        now_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._seconds = seconds
        self._held_up = held_up
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._partitions: dict[int, _PartitionLag] = {}
        self._assigned_s: dict[int, float] = {}

    def take_over(self, partition: int, next_offset: int) -> None:
        """Begin with a partition at an offset."""
        self._partitions[partition] = _PartitionLag(next_offset, None, self._now_s(), self._monotonic_s())

    def advance(self, partition: int, next_offset: int, newest_ms: int | None) -> None:
        """Set the next offset, and the arrival of the newest metered record, if there was one."""
        default = _PartitionLag(next_offset, None, 0.0, self._monotonic_s())
        lag = self._partitions.setdefault(partition, default)
        if next_offset != lag.next_offset:
            lag.next_offset = next_offset
            lag.stands_since_s = self._monotonic_s()
        if newest_ms is not None:
            lag.behind_since_s = newest_ms / 1_000

    def set_end(self, partition: int, end: int, held_up: int = 0) -> None:
        """Set the last stable offset of a partition, and the number of records behind it."""
        lag = self._partitions.get(partition)
        if lag is not None:
            if not (held_up and lag.held_up and end == lag.end):
                lag.held_up_since_s = self._monotonic_s()
            lag.end, lag.held_up = end, held_up
            if not lag.waiting():
                lag.behind_since_s = self._now_s()
                lag.stands_since_s = self._monotonic_s()

    def assign(self, partitions: set[int]) -> set[int]:
        """Keep only the partitions that are assigned now; returns those that were dropped."""
        now_s = self._monotonic_s()
        self._assigned_s = {number: self._assigned_s.get(number, now_s) for number in partitions}
        dropped = self._partitions.keys() - partitions
        for number in dropped:
            del self._partitions[number]
        return dropped

    def pending_takeovers_s(self) -> dict[int, float]:
        """Seconds since the assignment of each partition that was not taken over yet."""
        now_s = self._monotonic_s()
        pending = self._assigned_s.keys() - self._partitions.keys()
        return {number: now_s - self._assigned_s[number] for number in sorted(pending)}

    def positions(self) -> list[ConsumerPosition]:
        """The positions in the partitions whose end is known."""
        now_s, monotonic_s = self._now_s(), self._monotonic_s()
        return [
            ConsumerPosition(
                EVENTS,
                number,
                lag.next_offset,
                # Records may have been metered since the end was asked for.
                max(lag.end, lag.next_offset),
                waited_s=max(0.0, now_s - lag.behind_since_s) if lag.waiting() else 0.0,
                stood_s=monotonic_s - lag.stands_since_s,
                held_up=lag.held_up,
                held_up_s=monotonic_s - lag.held_up_since_s if lag.held_up else 0.0,
            )
            for number, lag in sorted(self._partitions.copy().items())
            if lag.end is not None
        ]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The lag of each partition whose end is known."""
        records = GaugeMetricFamily(
            self._records, "Records of phone-events that are not metered yet", labels=LABELS
        )
        seconds = GaugeMetricFamily(
            self._seconds,
            "How long the oldest record that is not metered yet can have waited; 0 if none waits",
            labels=LABELS,
        )
        held_up = GaugeMetricFamily(
            self._held_up,
            "Records of phone-events that can't be read yet, because a transaction before them is open",
            labels=LABELS,
        )
        for position in self.positions():
            label = (str(position.partition),)
            records.add_metric(label, position.waiting)
            seconds.add_metric(label, position.waited_s)
            held_up.add_metric(label, position.held_up)
        yield from (records, seconds, held_up)
