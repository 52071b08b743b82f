"""What the rules alone say of the log on the broker, and what is stored: line by line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from clickhouse_driver import Client
from kafka import KafkaConsumer, TopicPartition

from metering import dead_letters, topics
from metering.ledger import COLUMNS
from metering.partition import Metered, PartitionState, Record, meter
from metering.rules import Rules
from sinks.lines import shortened
from sinks.settings import SinkSettings

HOST = "127.0.0.1"
RENAMED = {
    "offset": "source_offset",
    "time_ms": "toUnixTimestamp64Milli(time)",
    "recorded_at_ms": "toUnixTimestamp64Milli(recorded_at)",
}
ASKS_S_MAX = 20
ID_DIGITS: int = SinkSettings.model_fields["event_id_digits"].default
"""How many digits of hashed ids the sinks keep: they run with the default."""


@dataclass(frozen=True)
class Count:
    """What a quick look finds: records of the log without a line, lines beyond the first of an identity."""

    lost: int
    doubled: int


@dataclass
class Verdict:
    """The comparison of everything, line by line."""

    records: int = 0
    lines: int = 0
    lost: int = 0
    doubled: int = 0
    made_up: int = 0
    dead_letters: int = 0
    dead_letters_lost: int = 0
    first: str = ""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.made_up or self.dead_letters_lost)


def ask(port: int, query: str) -> list[tuple[Any, ...]]:
    """A query, on a connection of its own."""
    with Client(
        HOST, port, "phonemeter", connect_timeout=2, send_receive_timeout=ASKS_S_MAX, sync_request_timeout=2
    ) as client:
        found: list[tuple[Any, ...]] = client.execute(query)
        return found


def quick_look(port: int) -> Count:
    """Every record of the log leaves a line, so a hole in the offsets is a loss."""
    ((doubled,),) = ask(port, "SELECT count() - uniqExact(source_partition, source_offset, line) FROM ledger")
    holes = ask(
        port, "SELECT max(source_offset) + 1 - uniqExact(source_offset) FROM ledger GROUP BY source_partition"
    )
    return Count(sum(hole for (hole,) in holes), doubled)


class Log:
    """The log as it stands on the broker, metered by the rules alone, one partition at a time."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka

    def ends(self, topic: str) -> dict[int, int]:
        client = KafkaConsumer(bootstrap_servers=self._kafka, enable_auto_commit=False)
        try:
            tps = [TopicPartition(topic, partition) for partition in client.partitions_for_topic(topic) or ()]
            return {tp.partition: end for tp, end in client.end_offsets(tps).items()}
        finally:
            client.close()

    def metered(self, partition: int) -> Metered:
        return meter(PartitionState(partition), self.records(topics.EVENTS, partition), Rules())

    def records(self, topic: str, partition: int) -> Iterator[Record]:
        tp = TopicPartition(topic, partition)
        client = KafkaConsumer(
            bootstrap_servers=self._kafka, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            client.assign([tp])
            end = client.end_offsets([tp])[tp]
            while client.position(tp) < end:
                for records in client.poll(500).values():
                    yield from (Record(r.offset, r.timestamp, r.key, r.value) for r in records)
        finally:
            client.close()


def judge(kafka: str, engine_port: int) -> Verdict:
    """Compare all that is stored with what the rules say, exactly."""
    verdict, log = Verdict(), Log(kafka)
    for partition, end in log.ends(topics.EVENTS).items():
        truth = log.metered(partition)
        verdict.records += end
        _compare_lines(verdict, engine_port, partition, truth)
        _compare_dead_letters(verdict, log, partition, truth)
    return verdict


def _compare_lines(verdict: Verdict, engine_port: int, partition: int, truth: Metered) -> None:
    names = ", ".join(RENAMED.get(name, name) for name in COLUMNS)
    rows = ask(
        engine_port,
        f"SELECT {names} FROM ledger WHERE source_partition = {partition} "  # noqa: S608 - our own names
        "ORDER BY source_offset, line",
    )
    ids = shortened([entry.event_id for entry in truth.entries], ID_DIGITS)
    wanted = {
        (entry.offset, entry.line): msgspec.structs.astuple(msgspec.structs.replace(entry, event_id=kept))
        for entry, kept in zip(truth.entries, ids, strict=True)
    }
    verdict.lines += len(wanted)
    seen: set[tuple[int, int]] = set()
    for row in rows:
        place = (row[0], row[1])
        if place in seen:
            verdict.doubled += 1
            _note(verdict, f"partition {partition}: stored twice: {row}")
        elif wanted.get(place) != row:
            verdict.made_up += 1
            _note(verdict, f"partition {partition}: stored {row}, the rules say {wanted.get(place)}")
        seen.add(place)
    missing = wanted.keys() - seen
    verdict.lost += len(missing)
    if missing:
        _note(verdict, f"partition {partition}: not stored: {wanted[min(missing)]}")


def _compare_dead_letters(verdict: Verdict, log: Log, partition: int, truth: Metered) -> None:
    kept = {dead_letters.decode(r.value or b"") for r in log.records(topics.DEAD_LETTERS, partition)}
    verdict.dead_letters += len(truth.dead_letters)
    verdict.dead_letters_lost += len(set(truth.dead_letters) - kept)


def _note(verdict: Verdict, what: str) -> None:
    verdict.first = verdict.first or what
