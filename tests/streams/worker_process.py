"""A real worker in its own process, on the session's broker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from metering import topics
from metering.ledger import Entry, decode_rows
from tests.conftest import PARTITIONS
from tests.served import scraped
from tests.waiting import WITHIN_S


@dataclass
class WorkerProcess:
    """The process `faust -A APP worker`, with its log and metrics."""

    kafka: str
    port: int
    directory: Path
    app: str = "streams.app"
    clock: str = "events"

    def __post_init__(self) -> None:
        self._log = (self.directory / "worker.log").open("ab")
        self.process = self._start()

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()

    @property
    def log(self) -> str:
        """Its log so far."""
        return (self.directory / "worker.log").read_text()

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Kill -9 and start again, as a supervisor does."""
        self.kill()
        self.process = self._start()

    def terminate(self) -> int:
        """Stop it with SIGTERM; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=WITHIN_S)

    def metric(self, name: str) -> float:
        """A metric's sum over its labels; 0 while the worker does not answer."""
        return sum(value for key, value in scraped(self.port).items() if key.startswith(name))

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {
            **os.environ,
            "PHONEMETER_KAFKA": self.kafka,
            "PHONEMETER_WORKER_PORT": str(self.port),
            "PHONEMETER_CLOCK": self.clock,
            "PHONEMETER_TICK_INTERVAL_S": "1",
        }
        command = [sys.executable, "-m", "faust", "-A", self.app, "--datadir", str(self.directory), "worker"]
        return subprocess.Popen(
            [*command, "-l", "info", "--without-web"] if self.port == 0 else [*command, "-l", "info"],
            env=environ,
            stdout=self._log,
            stderr=self._log,
        )


@contextmanager
def consumer(kafka: str) -> Iterator[KafkaConsumer]:
    """A consumer of committed records, without a group."""
    client = KafkaConsumer(
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    try:
        yield client
    finally:
        client.close()


def records_of(kafka: str, topic: str) -> list[tuple[int, int, bytes | None]]:
    """All records of a topic as (partition, offset, value)."""
    found = []
    with consumer(kafka) as client:
        tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        client.assign(tps)
        ends = client.end_offsets(tps)
        while any(client.position(tp) < ends[tp] for tp in tps):
            for records in client.poll(200).values():
                found += [(record.partition, record.offset, record.value) for record in records]
    return found


def ledger(kafka: str) -> dict[tuple[int, int, int], Entry]:
    """The ledger, each identity once.

    Raises:
        AssertionError: an entry was published twice with different contents.
    """
    entries: dict[tuple[int, int, int], Entry] = {}
    for partition, _, value in records_of(kafka, topics.LEDGER):
        for row in decode_rows(value or b"").rows:
            entry = Entry(*row)
            known = entries.setdefault((partition, entry.offset, entry.line), entry)
            assert known == entry
    return entries
