"""What became of alerts, from `phone-deliveries` into ClickHouse's `delivery_states`, beside the ledger.

Every sink reads the whole topic, which is compacted and small, without a group: what rows say comes from the
log alone, so it does not matter who writes them, nor how often. Where a partition stands is read from the
table. Nothing here can hold up the ledger.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from clickhouse_driver import Client
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from metering.topics import DELIVERIES
from sinks.connection import FAILURES, connect, rows, sentence
from sinks.consuming import CONNECT_TIMEOUT_MS, REQUEST_TIMEOUT_MS, consumer, partitions_of
from sinks.metrics import Metrics
from sinks.notifier.records import decode
from sinks.notifier.standing import COLUMNS, Row, Standing

log = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
"""How often rows are written at the most, and how soon a failure is tried again."""
PAUSE_S_MAX: Final = 30.0
REPLY_TIMEOUT_S: Final = 10.0
END_S_MAX: Final = 3.0
"""A service has five seconds to end. What is not written then is written at the next start."""
FETCH_BYTES_MAX: Final = 4 * 2**20
FETCH_WAIT_MS: Final = 500
RECORDS_MAX: Final = 2_000

_STORED: Final = "SELECT log_partition, max(log_offset) FROM delivery_states GROUP BY log_partition"
_INSERT: Final = f"INSERT INTO delivery_states ({', '.join(COLUMNS)}) VALUES"
_FORGET: Final = "ALTER TABLE delivery_states DELETE WHERE log_partition = {partition:d}"


class _LostError(Exception):
    """The table has less than it had, or the topic was made anew: everything is read again."""


@contextmanager
def followed(kafka: str, clickhouse: str, metrics: Metrics, stopping: threading.Event) -> Iterator[None]:
    """Have a thread follow the deliveries for as long as the block runs; it ends when `stopping` is set."""
    thread = threading.Thread(
        target=_follow,
        args=(kafka, clickhouse, metrics, stopping),
        name="phonemeter-sink-deliveries",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(END_S_MAX)


def _follow(kafka: str, clickhouse: str, metrics: Metrics, stopping: threading.Event) -> None:
    pause_s = PAUSE_S
    while not stopping.is_set():
        try:
            with _reading(kafka) as reader, connect(clickhouse, reply_timeout_s=REPLY_TIMEOUT_S) as client:
                follower = Follower(reader, client, metrics)
                while not stopping.is_set():
                    follower.turn()
                    pause_s = PAUSE_S
        except (KafkaError, _LostError, *FAILURES) as error:
            metrics.delivery_failures.inc()
            log.warning("What became of alerts is not stored now (%s); trying again.", sentence(error))
            stopping.wait(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)


@contextmanager
def _reading(kafka: str) -> Iterator[KafkaConsumer]:
    reader = consumer(
        kafka,
        client_id="phonemeter-sink-deliveries",
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_poll_records=RECORDS_MAX,
    )
    (partitions,) = partitions_of(reader, (DELIVERIES,))
    reader.assign([TopicPartition(DELIVERIES, partition) for partition in sorted(partitions)])
    try:
        yield reader
    finally:
        reader.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)


class Follower:
    """Reads what the notifier noted, from the beginning, and writes what is not in the table yet."""

    def __init__(self, reader: KafkaConsumer, client: Client, metrics: Metrics) -> None:
        self._reader = reader
        self._client = client
        self._metrics = metrics
        self._stored = self._as_stored()
        self._standing: dict[int, Standing] = {}
        self._next: dict[int, int] = {}
        self._waiting: dict[tuple[str, str], Row] = {}
        self._written_s = float("-inf")
        ends: Mapping[TopicPartition, int] = reader.end_offsets(
            list(reader.assignment()), timeout_ms=REQUEST_TIMEOUT_MS
        )
        for at, end in ends.items():
            self._standing[at.partition] = Standing(at.partition)
            if self._stored.get(at.partition, -1) >= end:
                self._forget(at.partition, end)
        reader.seek_to_beginning()

    def turn(self) -> None:
        """Read what there is, and write what follows from it if the last time is a second ago."""
        polled: Mapping[TopicPartition, list[Any]] = self._reader.poll(timeout_ms=int(PAUSE_S * 1_000))
        for at, records in polled.items():
            for record in records:
                self._take(at.partition, record.offset, record.key, record.value)
        if self._waiting and time.monotonic() >= self._written_s + PAUSE_S:
            self._write()
            self._waiting.clear()
            self._written_s = time.monotonic()
        self._report()

    def _take(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        if offset < self._next.get(partition, 0):
            raise _LostError(f"partition {partition} of {DELIVERIES} begins anew")
        self._next[partition] = offset + 1
        standing = self._standing[partition]
        if value is None:
            standing.erase(key or b"")
            return
        try:
            record = decode(value)
        except ValueError:
            # The notifier says so in its log, and leaves it alone as well.
            return
        for row in standing.read(offset, record):
            if offset > self._stored.get(partition, -1):
                self._waiting[row.alert_id, row.route] = row

    def _write(self) -> None:
        before, self._stored = self._stored, self._as_stored()
        if any(self._stored.get(partition, -1) < offset for partition, offset in before.items()):
            raise _LostError("ClickHouse has lost rows of delivery_states that it had")
        new = [
            row for row in self._waiting.values() if row.log_offset > self._stored.get(row.log_partition, -1)
        ]
        if new:
            self._client.execute(_INSERT, new)
        for row in new:
            self._stored[row.log_partition] = max(self._stored.get(row.log_partition, -1), row.log_offset)
        self._metrics.delivery_rows.inc(len(new))

    def _as_stored(self) -> dict[int, int]:
        """The newest place in the log of each partition that the table has."""
        return {int(partition): int(offset) for partition, offset in rows(self._client, _STORED)}

    def _forget(self, partition: int, end: int) -> None:
        """Drop the rows of a log that is not there any more: those of the new one could not replace them."""
        log.error(
            "Partition %d of %s ends at %d, but delivery_states has rows up to %d: the topic was made anew; "
            "the rows of the old one are dropped.",
            partition,
            DELIVERIES,
            end,
            self._stored.pop(partition),
        )
        self._client.execute(_FORGET.format(partition=partition), settings={"mutations_sync": 1})

    def _report(self) -> None:
        ends = {at: self._reader.highwater(at) for at in self._reader.assignment()}
        lags = [end - self._reader.position(at) for at, end in ends.items() if end is not None]
        self._metrics.delivery_lag_records.set(sum(max(0, lag) for lag in lags))
