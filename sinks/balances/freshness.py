"""Freshness of a memory: the moment by which everything that had arrived in `phone-events` is added up.

The end of the log is noted again and again. Once the worker is past an end, and the memory past the entries
that the worker has published by then, the memory is as of the moment at which that end was noted. It does not
matter whether anything happens: a log that stands still is known to do so.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.topics import EVENTS, LEDGER, WORKER_GROUP
from sinks.admin_client import KafkaAdmin, admin_client
from sinks.backoff import backoff_s
from sinks.balances.memory import BalanceMemory, wall_clock_ms
from sinks.balances.tail import group_offsets

log = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0

ENDS_MAX: Final = 120
"""Ends that are kept: a worker that is further behind than they reach is seen later."""


class NotedEnd(NamedTuple):
    """The ends of `phone-events` by partition, which were asked for after `at_ms`."""

    at_ms: int
    ends: Mapping[int, int]


class PublishedEnd(NamedTuple):
    """A moment whose events are all metered; their entries are in `phone-ledger` before `ledger_end`."""

    at_ms: int
    ledger_end: int


class Freshness:
    """The ends of one log. One thread asks Kafka, another one confirms.

    Attributes:
        trouble: why Kafka could not be asked; empty if it could.
    """

    def __init__(self, partitions: int, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._partitions = partitions
        self._now_ms = now_ms
        self._noted: deque[NotedEnd] = deque(maxlen=ENDS_MAX)
        self._metered: dict[int, PublishedEnd] = {}
        self.trouble = ""

    def run(self, kafka: KafkaAccess, stopping: threading.Event) -> None:
        """Ask Kafka until `stopping` is set."""
        failures = 0
        while not stopping.is_set():
            try:
                with admin_client(kafka) as client:
                    while not stopping.is_set():
                        self.look(client)
                        failures, self.trouble = 0, ""
                        stopping.wait(INTERVAL_S)
            except KafkaError as error:
                failures += 1
                if not self.trouble:
                    log.warning("How fresh the balances are can't be asked (%s); trying again.", error)
                self.trouble = f"Kafka does not say how far the worker is ({error})."
                stopping.wait(backoff_s(failures))

    def look(self, client: KafkaAdmin) -> None:
        """Note the ends, and what is metered.

        Raises:
            KafkaError: Kafka does not answer.
        """
        at_ms = self._now_ms()
        self.note(NotedEnd(at_ms, _ends(client, EVENTS, self._partitions)))
        committed = group_offsets(client, WORKER_GROUP)
        metered = {at.partition: done.offset for at, done in committed.items() if at.topic == EVENTS}
        # In this order: what is committed has been published.
        self.measure(metered, _ends(client, LEDGER, self._partitions))

    def note(self, noted: NotedEnd) -> None:
        """Take the ends of `phone-events` as of a moment."""
        self._noted.append(noted)

    def measure(self, metered: Mapping[int, int], ledger_ends: Mapping[int, int]) -> None:
        """Take the next event to be metered, and an end of `phone-ledger` that was asked for after that."""
        for partition, next_offset in metered.items():
            at_ms = self._passed(partition, next_offset)
            if at_ms is not None and partition in ledger_ends:
                self._metered[partition] = PublishedEnd(at_ms, ledger_ends[partition])

    def confirm(self, memory: BalanceMemory, next_offsets: Mapping[int, int]) -> None:
        """Tell a memory as of when it is; `next_offsets` are those of its records of `phone-ledger`."""
        for partition, position in memory.positions.items():
            # Entries of an offset may be in several records, so only those before the newest are all there.
            # Before the first event of a partition nobody has committed anything, and nothing is missing.
            seen_ms = self._passed(partition, max(0, position.offset))
            metered = self._metered.get(partition)
            if metered is not None and next_offsets.get(partition, -1) >= metered.ledger_end:
                seen_ms = metered.at_ms if seen_ms is None else max(seen_ms, metered.at_ms)
            if seen_ms is not None:
                memory.confirm(partition, seen_ms)

    def _passed(self, partition: int, next_offset: int) -> int | None:
        """The newest moment at which the log did not reach beyond an offset."""
        passed = (
            one.at_ms for one in reversed(tuple(self._noted)) if one.ends.get(partition, 0) <= next_offset
        )
        return next(passed, None)


def _ends(client: KafkaAdmin, topic: str, partitions: int) -> dict[int, int]:
    latest = {TopicPartition(topic, one): OffsetSpec.LATEST for one in range(partitions)}
    found = client.list_partition_offsets(latest)
    return {at.partition: one.offset for at, one in found.items()}
