"""A small world to audit: a log on the real broker, and what a worker and a sink would have made of it."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import pytest
from kafka import KafkaProducer

from metering import dead_letters
from metering.dead_letters import DeadLetter
from metering.ledger import Entry, encode_records
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record, RecordRange
from metering.topics import DEAD_LETTERS, EVENTS, LEDGER, SINK_GROUP, WORKER_GROUP
from phonemeter.audit.auditor import audit
from phonemeter.audit.report import AuditReport
from phonemeter.settings import Settings, load
from sinks.entry_columns import concatenate, decode
from sinks.ledger_table import LedgerTable
from sinks.migrations import migrate
from tests.committing import commit_as
from tests.conftest import RunningEngine, RunningKafka
from tests.waiting import WITHIN_S, blocking_until


@pytest.fixture
def audit_settings(undivided_topics: RunningKafka, engine: RunningEngine) -> Settings:
    """Empty topics, a database of the test's own, a trial of two calls."""
    database = f"audit_{secrets.token_hex(4)}"
    return load(kafka=undivided_topics.bootstrap, clickhouse=engine.url(database), trial_calls=2)


@dataclass
class World:
    """Everything happens in partition 0, where the test says so."""

    settings: Settings
    state: PartitionState = field(default_factory=lambda: PartitionState(0, partitions=1))
    entries: list[Entry] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def __enter__(self) -> Self:
        migrate(self.settings.clickhouse)
        self._store = LedgerTable(self.settings.clickhouse)
        self._producer = KafkaProducer(bootstrap_servers=self.settings.kafka, acks="all", linger_ms=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()
        self._store.close()

    def happens(self, values: Iterable[tuple[bytes, bytes]]) -> None:
        """Append records to the log, given as key and value, and meter them."""
        for key, value in values:
            sent = self._producer.send(EVENTS, key=key, value=value, partition=0).get(timeout=WITHIN_S)
            self.records.append(Record(sent.offset, sent.timestamp, key, value))
        log = RecordRange(self.records, 0, self.records[-1].offset + 1)
        metered = meter(self.state, log, self.settings.rules())
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
        self._producer.send(topic, value, partition=0).get(timeout=WITHIN_S)

    def store(self, entries: Sequence[Entry]) -> None:
        """Store lines, each call as one INSERT."""
        for value in encode_records(0, entries):
            lines = decode(value, 0)
            self._store.insert(0, concatenate([lines]), self._store.position(0))

    def commit(self, metered: int | None = None, stored: Entry | None = None) -> None:
        """Say how far the worker and the sink are: done with all, unless said otherwise."""
        last = self.entries[-1] if stored is None else stored
        commit_as(WORKER_GROUP, self.settings.kafka, EVENTS, metered or self.state.next_offset)
        commit_as(SINK_GROUP, self.settings.kafka, LEDGER, 1, f"stored {last.offset} {last.line}")

    def all_is_right(self) -> None:
        """Publish, store and commit what the rules say."""
        self.publish(self.entries)
        self.publish_letters(self.letters)
        self.store(self.entries)
        self.commit()


def settled(settings: Settings) -> AuditReport:
    """The audit, once everything has been metered, stored and committed."""
    found: list[AuditReport] = []

    def nothing_in_flight() -> bool:
        found[:] = [audit(settings)]
        return not any(one.in_flight or one.not_stored for one in found[0].partitions)

    blocking_until(nothing_in_flight)
    return found[0]
