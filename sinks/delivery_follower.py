"""Delivery states of alerts, copied from `phone-deliveries` to ClickHouse's `delivery_states` by a thread.

Every sink reads the whole topic, which is compacted and small, without a group. Rows depend on the log only,
so it does not matter which sink writes them, nor how often. The position in a partition is read from the
table. The ledger never waits for this thread.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from clickhouse_driver import Client
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.log_identity import FoundRecord, Mark, PartitionView, difference
from metering.topics import DELIVERIES
from sinks.cluster import LOCAL, Cluster
from sinks.connection import FAILURES, cluster_of, connect, is_missing, rows, sentence
from sinks.kafka_consumer import (
    CONNECT_TIMEOUT_MS,
    REQUEST_TIMEOUT_MS,
    consumer,
    partitions_of,
    translate_kafka_errors,
)
from sinks.log_view import found_record, topic_id
from sinks.metrics import Metrics
from sinks.notifier.delivery_states import COLUMNS, DeliveryState, DeliveryStates
from sinks.notifier.records import decode

log = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
"""Shortest time between two INSERTs, and pause after the first failure."""
PAUSE_S_MAX: Final = 30.0
REPLY_TIMEOUT_S: Final = 10.0
END_S_MAX: Final = 3.0
"""Time to end in: the service has five seconds. What is not written then is written at the next start."""
FETCH_BYTES_MAX: Final = 4 * 2**20
FETCH_WAIT_MS: Final = 500
RECORDS_MAX: Final = 2_000

TABLE: Final = "delivery_states"

_STORED: Final = """
SELECT
    log_partition,
    argMax(log_topic, log_offset),
    max(log_offset),
    argMax(log_fingerprint, log_offset),
    argMax(log_epoch, log_offset)
FROM delivery_states
GROUP BY log_partition
"""
_INSERT: Final = (
    f"INSERT INTO delivery_states ({', '.join(COLUMNS)}, log_topic, log_fingerprint, log_epoch) VALUES"
)
_FORGET: Final = "ALTER TABLE {table} DELETE WHERE log_partition = {partition:d}"


class _LostError(Exception):
    """The table lost rows, or the log is another one: everything is read again."""


@contextmanager
def follow_deliveries(
    kafka: KafkaAccess,
    clickhouse: str,
    metrics: Metrics,
    stopping: threading.Event,
    recreate: Callable[[], object],
) -> Iterator[None]:
    """Copy delivery states in a thread while the block runs, until `stopping` is set.

    Where somebody dropped the table, `recreate` creates it again.
    """
    thread = threading.Thread(
        target=_follow,
        args=(kafka, clickhouse, metrics, stopping, recreate),
        name="phonemeter-sink-deliveries",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(END_S_MAX)


def _follow(
    kafka: KafkaAccess,
    clickhouse: str,
    metrics: Metrics,
    stopping: threading.Event,
    recreate: Callable[[], object],
) -> None:
    pause_s = PAUSE_S
    while not stopping.is_set():
        try:
            with (
                translate_kafka_errors(),
                _reading(kafka) as reader,
                connect(clickhouse, reply_timeout_s=REPLY_TIMEOUT_S, consistent=True) as client,
            ):
                topic = kafka.topic(DELIVERIES)
                follower = DeliveryFollower(reader, topic, client, metrics, cluster_of(clickhouse))
                while not stopping.is_set():
                    follower.turn()
                    pause_s = PAUSE_S
        except (KafkaError, _LostError, *FAILURES) as error:
            metrics.delivery_failures.inc()
            log.warning("Delivery states are not stored now (%s); trying again.", sentence(error))
            if is_missing(error):
                with suppress(*FAILURES):
                    recreate()
            stopping.wait(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)


@contextmanager
def _reading(kafka: KafkaAccess) -> Iterator[KafkaConsumer]:
    reader = consumer(
        kafka,
        client_id="phonemeter-sink-deliveries",
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_poll_records=RECORDS_MAX,
    )
    topic = kafka.topic(DELIVERIES)
    (partitions,) = partitions_of(reader, (topic,))
    reader.assign([TopicPartition(topic, partition) for partition in sorted(partitions)])
    try:
        yield reader
    finally:
        reader.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)


class _Derived(NamedTuple):
    """A row, and the identity of the record that it was derived from."""

    row: DeliveryState
    found: FoundRecord


class _Table:
    """The table `delivery_states`, which also has the position and the mark of each partition."""

    def __init__(self, client: Client, cluster: Cluster | None) -> None:
        self._client = client
        self._written = TABLE if cluster is None else f"{TABLE}{LOCAL} {cluster.clause}"

    def marks(self) -> dict[int, Mark]:
        """Read the mark of each partition's newest stored record; older versions stored only its offset."""
        return {
            int(partition): Mark(topic, int(offset), int(fingerprint), int(epoch))
            for partition, topic, offset, fingerprint, epoch in rows(self._client, _STORED)
        }

    def insert(self, topic: str, derived: Sequence[_Derived]) -> None:
        """Store rows, with the marks of the records that they were derived from."""
        self._client.execute(
            _INSERT, [(*row, topic, found.fingerprint, found.leader_epoch) for row, found in derived]
        )

    def forget(self, partition: int, kept_topic: str) -> None:
        """Delete the rows of a log that is gone, which those of the new one would not replace.

        Rows of `kept_topic` stay, as another sink may have begun to store those of the new log.
        """
        kept = f" AND log_topic != '{kept_topic}'" if kept_topic else ""
        forget = _FORGET.format(table=self._written, partition=partition)
        self._client.execute(forget + kept, settings={"mutations_sync": 1})


class DeliveryFollower:
    """Reader of `phone-deliveries` from its beginning, which stores the rows that the table lacks."""

    def __init__(
        self,
        reader: KafkaConsumer,
        topic: str,
        client: Client,
        metrics: Metrics,
        cluster: Cluster | None = None,
    ) -> None:
        self._reader = reader
        self._name = topic
        self._table = _Table(client, cluster)
        self._metrics = metrics
        self._marks = self._table.marks()
        self._states: dict[int, DeliveryStates] = {}
        self._next_offsets: dict[int, int] = {}
        self._pending: dict[tuple[str, str], _Derived] = {}
        self._inserted_at_s = float("-inf")
        ends: Mapping[TopicPartition, int] = reader.end_offsets(
            list(reader.assignment()), timeout_ms=REQUEST_TIMEOUT_MS
        )
        self._topic = topic_id(reader, topic)
        for at, end in ends.items():
            self._states[at.partition] = DeliveryStates(at.partition)
            self._forget_another_log(at.partition, PartitionView(self._topic, 0, end, looked=False))
        self._marks = self._table.marks()
        reader.seek_to_beginning()

    def turn(self) -> None:
        """Read the next records, and store rows if the last INSERT is `PAUSE_S` ago."""
        polled: Mapping[TopicPartition, list[Any]] = self._reader.poll(timeout_ms=int(PAUSE_S * 1_000))
        topic = topic_id(self._reader, self._name)
        if self._topic and topic and topic != self._topic:
            raise _LostError(f"{DELIVERIES} was recreated")
        for at, records in polled.items():
            for record in records:
                self._take(at.partition, record)
        if self._pending and time.monotonic() >= self._inserted_at_s + PAUSE_S:
            self._write()
            self._pending.clear()
            self._inserted_at_s = time.monotonic()
        self._report()

    def _take(self, partition: int, record: Any) -> None:  # noqa: ANN401 - kafka-python ships no types
        offset: int = record.offset
        if offset < self._next_offsets.get(partition, 0):
            raise _LostError(f"partition {partition} of {DELIVERIES} was delivered from its beginning again")
        self._next_offsets[partition] = offset + 1
        found = found_record(record)
        stored = self._marks.get(partition, Mark())
        if offset == stored.offset and stored.fingerprint:
            view = PartitionView(self._topic, 0, offset + 1, found)
            if self._forget_another_log(partition, view):
                raise _LostError(f"partition {partition} of {DELIVERIES} is another log than was stored")
        states = self._states[partition]
        if record.value is None:
            states.erase(record.key or b"")
            return
        try:
            decoded = decode(record.value)
        except ValueError:
            # The notifier skips and logs it as well.
            return
        for row in states.apply(offset, decoded):
            if offset > stored.offset:
                self._pending[row.alert_id, row.route] = _Derived(row, found)

    def _write(self) -> None:
        before, self._marks = self._marks, self._table.marks()
        if any(self._stored_offset(partition) < mark.offset for partition, mark in before.items()):
            raise _LostError("ClickHouse has lost rows of delivery_states that it had")
        if self._topic and any(mark.topic_id not in {"", self._topic} for mark in self._marks.values()):
            raise _LostError(f"delivery_states has rows of another {DELIVERIES}")
        new = [one for one in self._pending.values() if self._is_new(one.row)]
        if new:
            self._table.insert(self._topic, new)
        for row, found in new:
            if self._is_new(row):
                self._marks[row.log_partition] = Mark(
                    self._topic, row.log_offset, found.fingerprint, found.leader_epoch
                )
        self._metrics.delivery_rows.inc(len(new))

    def _is_new(self, row: DeliveryState) -> bool:
        return row.log_offset > self._stored_offset(row.log_partition)

    def _stored_offset(self, partition: int) -> int:
        return self._marks.get(partition, Mark()).offset

    def _forget_another_log(self, partition: int, view: PartitionView) -> bool:
        """Delete the rows of a partition if they were derived from another log; returns whether they were."""
        mark = self._marks.get(partition, Mark())
        differs = difference(mark, mark.offset + 1, view, compacted=True)
        if differs:
            log.error(
                "Partition %d of %s is not the log that delivery_states was derived from: %s; the rows of "
                "the old one are dropped, and those of the new one are written.",
                partition,
                DELIVERIES,
                differs,
            )
            self._table.forget(partition, view.topic_id if mark.topic_id != view.topic_id else "")
        return bool(differs)

    def _report(self) -> None:
        ends = {at: self._reader.highwater(at) for at in self._reader.assignment()}
        lags = [end - (self._reader.position(at) or 0) for at, end in ends.items() if end is not None]
        self._metrics.delivery_lag_records.set(sum(max(0, lag) for lag in lags))
