"""A small world to audit: a log on the real broker, and what a worker and a sink would have made of it."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from metering import dead_letters
from metering.dead_letters import DeadLetter
from metering.ledger import Entry, encode_records
from metering.partition import PartitionState, Record, meter
from metering.topics import DEAD_LETTERS, EVENTS, LEDGER, SINK_GROUP, WORKER_GROUP
from phonemeter.audit.auditor import audit
from phonemeter.audit.report import Report
from phonemeter.settings import Settings, load
from sinks.lines import concatenated, decode
from sinks.migrations import migrate
from sinks.store import Store
from tests.conftest import RunningEngine, RunningKafka
from tests.waiting import blocking_until


@pytest.fixture
def audit_settings(topics: RunningKafka, engine: RunningEngine) -> Settings:
    """Empty topics, a database of the test's own, a trial of two calls."""
    database = f"audit_{secrets.token_hex(4)}"
    return load(kafka=topics.bootstrap, clickhouse=engine.url(database), trial_calls=2)


@dataclass
class World:
    """Everything happens in partition 0, where the test says so."""

    settings: Settings
    state: PartitionState = field(default_factory=lambda: PartitionState(0))
    entries: list[Entry] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def __enter__(self) -> Self:
        migrate(self.settings.clickhouse)
        self._store = Store(self.settings.clickhouse)
        self._producer = KafkaProducer(bootstrap_servers=self.settings.kafka, acks="all", linger_ms=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.close()
        self._store.close()

    def happens(self, values: Iterable[tuple[bytes, bytes]]) -> None:
        """Append records to the log, given as key and value, and meter them."""
        for key, value in values:
            sent = self._producer.send(EVENTS, key=key, value=value, partition=0).get(timeout=10)
            self.records.append(Record(sent.offset, sent.timestamp, key, value))
        metered = meter(self.state, self.records, self.settings.rules())
        self.state = metered.state
        self.entries += metered.entries
        self.letters += metered.dead_letters

    def publish(self, entries: Sequence[Entry]) -> None:
        """Publish lines as a worker does."""
        for value in encode_records(0, entries):
            self.publish_raw(LEDGER, value)

    def publish_letters(self, letters: Iterable[DeadLetter]) -> None:
        for letter in letters:
            self.publish_raw(DEAD_LETTERS, dead_letters.encode(letter))

    def publish_raw(self, topic: str, value: bytes) -> None:
        self._producer.send(topic, value, partition=0).get(timeout=10)

    def store(self, entries: Sequence[Entry]) -> None:
        """Store lines, each call as one INSERT."""
        for value in encode_records(0, entries):
            lines = decode(value, 0)
            self._store.insert(0, concatenated([lines]), self._store.position(0))

    def commit(self, metered: int | None = None, stored: Entry | None = None) -> None:
        """Say how far the worker and the sink are: done with all, unless said otherwise."""
        last = self.entries[-1] if stored is None else stored
        _commit(self.settings.kafka, WORKER_GROUP, EVENTS, metered or self.state.next_offset, "")
        _commit(self.settings.kafka, SINK_GROUP, LEDGER, 1, f"stored {last.offset} {last.line}")

    def all_is_right(self) -> None:
        """Publish, store and commit what the rules say."""
        self.publish(self.entries)
        self.publish_letters(self.letters)
        self.store(self.entries)
        self.commit()


def _commit(bootstrap: str, group: str, topic: str, offset: int, metadata: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    try:
        at = TopicPartition(topic, 0)
        consumer.assign([at])
        consumer.commit({at: OffsetAndMetadata(offset, metadata, -1)})
    finally:
        consumer.close(autocommit=False)


def settled(settings: Settings) -> Report:
    """The audit, once everything has been metered, stored and committed."""
    found: list[Report] = []

    def nothing_in_flight() -> bool:
        found[:] = [audit(settings)]
        return not any(one.in_flight or one.not_stored for one in found[0].partitions)

    blocking_until(nothing_in_flight, 30)
    return found[0]
