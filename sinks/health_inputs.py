"""Facts about the sink's partitions and ClickHouse, by which its health is judged."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from metering.health import Problem
from metering.health_checks import (
    ConsumerPosition,
    HealthLimits,
    clickhouse_problems,
    position_problems,
    unread_problems,
)
from metering.topics import LEDGER


class _Failure(NamedTuple):
    """A failure that lasts: since when, and its newest reason."""

    since_s: float
    why: str


class UnreadablePartitions:
    """The partitions of a topic that cannot be read now, since when and why."""

    def __init__(self, topic: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._monotonic_s = monotonic_s
        self._failures: dict[int, _Failure] = {}

    def add(self, partition: int, why: str) -> None:
        """Note that a partition cannot be read; the time counts from the first of these notes in a row."""
        known = self._failures.get(partition)
        self._failures[partition] = _Failure(self._monotonic_s() if known is None else known.since_s, why)

    def remove(self, partition: int) -> None:
        """Note that a partition can be read, or is not owned."""
        self._failures.pop(partition, None)

    def problems(self, limits: HealthLimits) -> Iterator[Problem]:
        """Report the partitions that could not be read for too long."""
        now_s, failures = self._monotonic_s(), self._failures.copy()
        lasting = {partition: (now_s - one.since_s, one.why) for partition, one in failures.items()}
        yield from unread_problems(self._topic, lasting, limits)


@dataclass(slots=True)
class _PartitionFacts:
    """Position of an owned partition, and how far it is behind.

    Attributes:
        next_offset: the group's position.
        records: number of records behind it.
        since_s: monotonic time since which it has been there with records behind it.
        behind_since_s: wall-clock time since which records can have waited; None before the first report.
        stopped: reason why it is stopped; empty if it is not.
    """

    since_s: float
    next_offset: int = 0
    records: int = 0
    behind_since_s: float | None = None
    stopped: str = ""


class HealthInputs:
    """Facts that the sink's thread notes, and other threads read."""

    def __init__(
        self, monotonic_s: Callable[[], float] = time.monotonic, wall_s: Callable[[], float] = time.time
    ) -> None:
        self.unreadable = UnreadablePartitions(LEDGER, monotonic_s)
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self._partitions: dict[int, _PartitionFacts] = {}
        self._clickhouse: _Failure | None = None

    def set_position(self, partition: int, next_offset: int, records: int) -> None:
        """Note the group's position in a partition, and the number of records behind it."""
        now_s, facts = self._monotonic_s(), self._facts(partition)
        if not records or next_offset != facts.next_offset:
            facts.since_s = now_s
        if not records or facts.behind_since_s is None:
            facts.behind_since_s = self._wall_s()
        facts.next_offset, facts.records = next_offset, records

    def set_stored(self, partition: int, newest_s: float) -> None:
        """Note when the newest stored entry of a partition arrived at the broker."""
        self._facts(partition).behind_since_s = newest_s

    def stop(self, partition: int, reason: str) -> None:
        """Note that a partition is stopped."""
        self._facts(partition).stopped = reason

    def restart(self, partition: int) -> None:
        """Note that a partition is read from its beginning, whatever had stopped it."""
        self.unreadable.remove(partition)
        if partition in self._partitions:
            self._partitions[partition].stopped = ""

    def forget(self, partition: int) -> None:
        """Note that a partition is not owned any more."""
        self.unreadable.remove(partition)
        self._partitions.pop(partition, None)

    def set_clickhouse_up(self) -> None:
        """Note that ClickHouse did what it was asked."""
        self._clickhouse = None

    def set_clickhouse_down(self, why: str) -> None:
        """Note that ClickHouse did not, and is tried again."""
        known = self._clickhouse
        self._clickhouse = _Failure(self._monotonic_s() if known is None else known.since_s, why)

    def waited_s(self, partition: int) -> float:
        """Time that the oldest record of a partition that is not stored can have waited."""
        facts = self._partitions.get(partition)
        if facts is None or facts.behind_since_s is None:
            return 0.0
        return max(0.0, self._wall_s() - facts.behind_since_s)

    def problems(self, limits: HealthLimits) -> Iterator[Problem]:
        """Report what these facts show to be wrong."""
        now_s, clickhouse = self._monotonic_s(), self._clickhouse
        if clickhouse is not None:
            found = list(clickhouse_problems(now_s - clickhouse.since_s, clickhouse.why))
            if found:
                # It is the reason for everything else that waits.
                yield from found
                return
        yield from self.unreadable.problems(limits)
        positions = [
            ConsumerPosition(
                LEDGER,
                partition,
                facts.next_offset,
                facts.next_offset + facts.records,
                waited_s=self.waited_s(partition) if facts.records else 0.0,
                stood_s=now_s - facts.since_s,
                stopped=facts.stopped,
            )
            for partition, facts in sorted(self._partitions.copy().items())
        ]
        yield from position_problems(positions, limits)

    def _facts(self, partition: int) -> _PartitionFacts:
        return self._partitions.setdefault(partition, _PartitionFacts(self._monotonic_s()))
