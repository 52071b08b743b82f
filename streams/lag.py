"""How far the worker is behind the log, in records and in seconds. Computed when Prometheus asks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

LABELS: Final = ("partition",)


@dataclass(slots=True)
class _Place:
    """Where a partition stands.

    Attributes:
        next_offset: offset that is metered next.
        end: where the log ended when that was asked last; None before it was.
        behind_since_s: no record that waits arrived before this time.
    """

    next_offset: int
    end: int | None
    behind_since_s: float

    def waiting(self) -> int | None:
        return None if self.end is None else max(0, self.end - self.next_offset)


class Lag(Collector):
    """The lag of the partitions that this worker owns.

    In seconds it is the most that the oldest waiting record can have waited: since the newest metered record
    arrived, since nothing waited last, or since the partition was taken over if neither is known; 0 while
    nothing waits.
    """

    def __init__(self, records: str, seconds: str, now_s: Callable[[], float] = time.time) -> None:
        self._records = records
        self._seconds = seconds
        self._now_s = now_s
        self._places: dict[int, _Place] = {}

    def taken_over(self, partition: int, next_offset: int) -> None:
        """A partition was taken over, at an offset."""
        self._places[partition] = _Place(next_offset, None, self._now_s())

    def metered(self, partition: int, next_offset: int, newest_ms: int) -> None:
        """Everything before an offset is metered; the newest of it arrived at the broker then."""
        place = self._places.setdefault(partition, _Place(next_offset, None, 0.0))
        place.next_offset = next_offset
        place.behind_since_s = newest_ms / 1_000

    def ends_at(self, partition: int, end: int) -> None:
        """The log of a partition ends before this offset now."""
        place = self._places.get(partition)
        if place is not None:
            place.end = end
            if not place.waiting():
                place.behind_since_s = self._now_s()

    def keep_only(self, partitions: set[int]) -> set[int]:
        """Forget the partitions that are not among these; returns which those were."""
        lost = self._places.keys() - partitions
        for partition in lost:
            del self._places[partition]
        return lost

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
        for partition, place in sorted(self._places.copy().items()):
            waiting = place.waiting()
            if waiting is not None:
                records.add_metric((str(partition),), waiting)
                waited_s = self._now_s() - place.behind_since_s if waiting else 0.0
                seconds.add_metric((str(partition),), max(0.0, waited_s))
        yield from (records, seconds)
