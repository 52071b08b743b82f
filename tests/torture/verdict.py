"""The comparison of what is stored with the log on the broker, metered by the rules alone."""

from dataclasses import dataclass
from typing import Any

import msgspec
from clickhouse_driver import Client

from metering import dead_letters, topics
from metering.ledger import COLUMNS
from metering.partition import MeteringResult
from sinks.entry_columns import shorten_ids
from sinks.settings import SinkSettings
from tests.torture.log import Log

HOST = "127.0.0.1"
RENAMED = {
    "offset": "source_offset",
    "time_ms": "toUnixTimestamp64Milli(time)",
    "recorded_at_ms": "toUnixTimestamp64Milli(recorded_at)",
}
ASKS_S_MAX = 20
ID_DIGITS: int = SinkSettings.model_fields["event_id_digits"].default
"""Digits of hashed ids that the sinks keep by default."""


@dataclass(frozen=True)
class Count:
    """The findings of a quick look: records without an entry, and entries that are stored again."""

    lost: int
    doubled: int


@dataclass
class Verdict:
    """The result of comparing all entries."""

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
    """Run a query on a connection of its own."""
    with Client(
        HOST, port, "phonemeter", connect_timeout=2, send_receive_timeout=ASKS_S_MAX, sync_request_timeout=2
    ) as client:
        found: list[tuple[Any, ...]] = client.execute(query)
        return found


def quick_look(port: int, log: Log) -> Count:
    """Count losses and doubles: every committed record has an entry."""
    ((doubled,),) = ask(port, "SELECT count() - uniqExact(source_partition, source_offset, line) FROM ledger")
    log.offsets()
    stands = ask(
        port,
        "SELECT source_partition, max(source_offset), uniqExact(source_offset) FROM ledger "
        "GROUP BY source_partition",
    )
    holes = (log.records_up_to(partition, highest) - stored for partition, highest, stored in stands)
    return Count(sum(max(0, hole) for hole in holes), doubled)


def judge(kafka: str, engine_port: int) -> Verdict:
    """Compare all stored entries with those of the rules alone."""
    verdict, log = Verdict(), Log(kafka)
    verdict.records = sum(map(len, log.offsets().values()))
    for partition in log.partitions(topics.EVENTS):
        truth = log.metered(partition)
        _compare_lines(verdict, engine_port, partition, truth)
        _compare_dead_letters(verdict, log, partition, truth)
    return verdict


def _compare_lines(verdict: Verdict, engine_port: int, partition: int, truth: MeteringResult) -> None:
    names = ", ".join(RENAMED.get(name, name) for name in COLUMNS)
    rows = ask(
        engine_port,
        f"SELECT {names} FROM ledger WHERE source_partition = {partition} "  # noqa: S608 - our own names
        "ORDER BY source_offset, line",
    )
    ids = shorten_ids([entry.event_id for entry in truth.entries], ID_DIGITS)
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


def _compare_dead_letters(verdict: Verdict, log: Log, partition: int, truth: MeteringResult) -> None:
    kept = {dead_letters.decode(r.value or b"") for r in log.records(topics.DEAD_LETTERS, partition)}
    verdict.dead_letters += len(truth.dead_letters)
    verdict.dead_letters_lost += len(set(truth.dead_letters) - kept)


def _note(verdict: Verdict, what: str) -> None:
    verdict.first = verdict.first or what
