"""The partitions of both topics that the consumer group assigned to this notifier."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from metering.topics import ALERTS, DELIVERIES
from sinks.notifier.kafka_log import AlertsSource, FetchedRecord
from sinks.notifier.metrics import Metrics
from sinks.notifier.owned_partition import OwnedPartition
from sinks.position import BEFORE_ALL, Position

log = logging.getLogger(__name__)

BEGIN_RETRY_MS: Final = 2_000


class HeldAlerts(NamedTuple):
    """Alerts that are not committed, because the recipients of owners are unknown.

    Attributes:
        offset: of the first of their records.
        before: position of the alert before it.
        records: number of their records.
    """

    offset: int
    before: Position
    records: int


@dataclass(slots=True)
class AlertsPartition:
    """A partition of `phone-alerts`, with the progress in it.

    Attributes:
        number: of the partition.
        position: of the newest alert whose delivery requests are recorded; None until reading has begun.
        topic_id: of the topic in which reading has begun.
        begin_at_ms: time of the next try to begin.
        held: the alerts that are read again once the recipients of owners are known.
    """

    number: int
    position: Position | None = None
    topic_id: str = ""
    begin_at_ms: int = 0
    held: HeldAlerts | None = None

    def hold(self, offset: int) -> None:
        """Hold the record at an offset, before `position` is moved to it."""
        held = self.held or HeldAlerts(offset, self.position or BEFORE_ALL, 0)
        self.held = held._replace(records=held.records + 1)

    def release(self, held: HeldAlerts) -> None:
        """Go back to before the held alerts."""
        self.position, self.held = held.before, None


class OwnedPartitions:
    """Follows rebalances, fetches records, and restarts what is no longer the log that was read.

    The topics rebalance and restart independently. A restart replaces the partition's object, so nothing of
    what was known survives.
    """

    def __init__(self, source: AlertsSource, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self.alert_partitions: dict[int, AlertsPartition] = {}
        self.delivery_partitions: dict[int, OwnedPartition] = {}
        self._source = source
        self._metrics = metrics
        self._now_ms = now_ms

    def fetch(self, pause_s: float) -> list[FetchedRecord]:
        """Fetch records, waiting for them at most `pause_s`, and follow rebalances.

        Records of partitions that came or went meanwhile may be out of place, and are left out.
        """
        records = self._poll(pause_s)
        moved = self._rebalance()
        return [record for record in records if (record.topic, record.partition) not in moved]

    def begin_alerts(self) -> None:
        """Begin to read new and restarted partitions of alerts; one that fails does not stop the others."""
        self._restart_replaced_topic()
        for partition in self.alert_partitions.values():
            if partition.position is None and partition.begin_at_ms <= self._now_ms():
                self._begin(partition)

    def _poll(self, pause_s: float) -> list[FetchedRecord]:
        try:
            return self._source.poll(pause_s)
        except OffsetOutOfRangeError as error:
            outside = error.args[0]
        except LogTruncationError as error:
            outside = error.divergent_offsets
        for at in outside:
            if at.topic == ALERTS:
                self._restart_alerts(at.partition)
            else:
                self._restart_deliveries(at.partition)
        return []

    def _rebalance(self) -> set[tuple[str, int]]:
        """Follow rebalances; return the topics and numbers of all partitions that came or went."""
        moved: set[tuple[str, int]] = set()
        for event in self._source.rebalances():
            moved.update(event.partitions)
            for topic, number in event.partitions:
                self._close(topic, number)
                if event.kind == "revoked":
                    labels = {"topic": topic, "partition": str(number)}
                    self._metrics.lag_records.remove_by_labels(labels)
                elif topic == DELIVERIES:
                    self._restart_deliveries(number)
                else:
                    self.alert_partitions[number] = AlertsPartition(number)
        return moved

    def _close(self, topic: str, number: int) -> None:
        if topic == DELIVERIES:
            self.delivery_partitions.pop(number, None)
        else:
            self.alert_partitions.pop(number, None)
            self._metrics.unreadable.remove(number)

    def _restart_deliveries(self, number: int) -> None:
        self.delivery_partitions[number] = OwnedPartition(number)
        self._source.begin_deliveries(number)

    def _restart_alerts(self, number: int) -> None:
        partition = self.alert_partitions.get(number)
        if partition is not None and partition.position is not None:
            self.alert_partitions[number] = AlertsPartition(number)

    def _restart_replaced_topic(self) -> None:
        """Restart partitions whose reading began in a topic that was deleted and recreated."""
        topic_id = self._source.alerts_topic_id()
        for partition in list(self.alert_partitions.values()):
            if topic_id and partition.topic_id and partition.topic_id != topic_id:
                self._restart_alerts(partition.number)

    def _begin(self, partition: AlertsPartition) -> None:
        number = partition.number
        try:
            partition.position, partition.topic_id = self._source.begin_alerts(number)
        except KafkaError as error:
            partition.begin_at_ms = self._now_ms() + BEGIN_RETRY_MS
            self._metrics.kafka_errors.inc()
            self._metrics.unreadable.add(number, f"{error}")
            log.warning("Partition %d of %s cannot begin (%s); trying again.", number, ALERTS, error)
        else:
            self._metrics.unreadable.remove(number)
