"""Parts of the sink's tests: an engine and a sink as real processes, and ledger entries to publish."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
from clickhouse_driver import Client
from kafka import KafkaProducer

from metering.ledger import CALL_KINDS, COLUMNS, Entry, EntryKind, encode_records
from metering.times import DAY_MS, HOUR_MS
from metering.topics import LEDGER
from tests.waiting import WITHIN_S, blocking_until

HOST = "127.0.0.1"


def wait_until(condition: Callable[[], bool], what: str, wait_s: float = WITHIN_S) -> None:
    """Return as soon as the condition holds; fail with its name if it never does."""
    blocking_until(condition, wait_s, what)


@dataclass
class EngineProcess:
    """A ClickHouse engine of its own that a test may kill: `python -m phonemeter.engine` on `port`."""

    directory: Path
    port: int
    http_port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    module: str = "phonemeter.engine"

    @property
    def url(self) -> str:
        return f"clickhouse://default@{HOST}:{self.port}/phonemeter"

    def start(self) -> Self:
        command = [sys.executable, "-m", self.module, "--data", str(self.directory / "engine")]
        ports = ["--native-port", str(self.port), "--http-port", str(self.http_port)]
        with (self.directory / "engine.log").open("ab") as log:
            self.process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert json.loads(ready or b"{}").get("ready"), (self.directory / "engine.log").read_text()
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def renew(self) -> None:
        """Start it again if it was killed, and drop what it holds."""
        if self.process is None or self.process.poll() is not None:
            self.kill()
            self.start()
        self.query("DROP DATABASE IF EXISTS phonemeter SYNC", "default")

    def query(self, sql: str, database: str = "phonemeter") -> list[tuple[Any, ...]]:
        with Client(HOST, self.port, database) as client:
            result: list[tuple[Any, ...]] = client.execute(sql)
            return result


@dataclass
class SinkProcess:
    """The sink as a process of its own, as the stack runs it."""

    kafka: str
    clickhouse: str
    metrics_port: int
    log: Path
    flush_ms: int = 100
    batch_rows: int = 100_000
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> Self:
        settings = {
            "KAFKA": self.kafka,
            "CLICKHOUSE": self.clickhouse,
            "SINK_METRICS_PORT": str(self.metrics_port),
            "SINK_FLUSH_MS": str(self.flush_ms),
            "SINK_BATCH_ROWS": str(self.batch_rows),
        }
        environment = os.environ | {f"PHONEMETER_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "tests.sinks.run_sink"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        return self

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """End in order, leaving the group, so that the next test does not wait for a dead member."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM; returns the exit status and the seconds until the end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=WITHIN_S)
        return status, time.monotonic() - began

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


START_MS = 1_717_200_000_000
"""2024-06-01T00:00:00Z, which is 08:00 in Shanghai."""


def lines(
    count: int, seed: int, appids: Sequence[str] = ("wx1", "wx2", "wx3"), first: int = 0
) -> list[Entry]:
    """Seeded entries of one source partition: calls of all kinds, takeovers, records of several entries."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    kinds: tuple[EntryKind, ...] = (*CALL_KINDS, "denied", "failed", "duplicate")
    made: list[Entry] = []
    offset = first
    while len(made) < count:
        offset += chance.choice((1, 1, 1, 2, 7))
        for line in range(chance.choice((1, 1, 1, 2, 3))):
            kind = chance.choice(kinds)
            made.append(
                Entry(
                    offset=offset,
                    line=line,
                    kind=kind,
                    time_ms=START_MS + chance.randrange(3 * DAY_MS),
                    recorded_at_ms=START_MS + len(made),
                    appid=chance.choice(appids),
                    capability=chance.choice(("quick", "realtime")),
                    event_id=f"{seed}-{offset}-{line}",
                    calls=chance.choice((1, 1, 1, -1)) if kind in CALL_KINDS else 0,
                    amount_micro_yuan=chance.choice((30_000, 40_000)) if kind == "charge" else 0,
                    pack_id=chance.choice(("p1", "p2")) if kind == "charge" else "",
                    remaining=chance.randrange(1_000),
                    reason="no_pack" if kind == "uncovered" else "",
                    errno=103 if kind == "denied" else 0,
                    scene=chance.choice(("card_claim", "login", "")),
                    store=chance.choice(("store-01", "store-02", "门店三")),
                    env="release",
                    client="e7d524b842e625e2",
                    source="/backend/member-centre",
                )
            )  # fmt: skip
    return made[:count]


def purchase(
    appid: str, pack_id: str, offset: int, *, calls: int = 250, starts_at_ms: int = START_MS
) -> Entry:
    """The ledger entry of a bought quick pack of 90 days."""
    terms = {
        "calls": calls,
        "expires_at_ms": starts_at_ms + 90 * DAY_MS,
        "order_id": f"order-{pack_id}",
        "paid_at_ms": starts_at_ms - HOUR_MS,
        "price_micro_yuan": 30_000 * calls,
        "starts_at_ms": starts_at_ms,
        "validity_days": 90,
    }
    return Entry(
        offset, 0, "purchase", starts_at_ms, starts_at_ms, appid, "quick", f"buy-{pack_id}",
        calls=calls, amount_micro_yuan=30_000 * calls, pack_id=pack_id, remaining=calls,
        details=json.dumps(terms),
    )  # fmt: skip


class Publisher:
    """Publishes ledger records as the stream does: same partition as the source, in order, acknowledged."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()

    def publish(self, partition: int, entries: Sequence[Entry], cut: int = 2_000) -> None:
        """Publish entries in records of at most `cut` each, and wait until they are acknowledged."""
        for start in range(0, len(entries), cut):
            for value in encode_records(partition, entries[start : start + cut]):
                self._producer.send(LEDGER, value, partition=partition)
        self._producer.flush()

    def publish_raw(self, partition: int, value: bytes) -> None:
        """Publish something that may be no ledger record."""
        self._producer.send(LEDGER, value, partition=partition)
        self._producer.flush()


def expected(published: Mapping[int, Iterable[Entry]]) -> list[tuple[Any, ...]]:
    """The rows that the ledger must hold: (source partition, all fields), times in milliseconds."""
    return sorted((partition, *msgspec.structs.astuple(entry)) for partition, entries in published.items()
                  for entry in entries)  # fmt: skip


def stored(engine: EngineProcess) -> list[tuple[Any, ...]]:
    """The rows that the ledger holds, as `expected` gives them."""
    renamed = {"offset": "source_offset", "time_ms": "toUnixTimestamp64Milli(time)",
               "recorded_at_ms": "toUnixTimestamp64Milli(recorded_at)"}  # fmt: skip
    names = ", ".join(renamed.get(name, name) for name in COLUMNS)
    return sorted(engine.query(f"SELECT source_partition, {names} FROM ledger"))  # noqa: S608 - our own names


def count_of(engine: EngineProcess) -> int:
    """Number of rows of the ledger; 0 while ClickHouse does not answer."""
    try:
        return int(engine.query("SELECT count() FROM ledger")[0][0])
    except Exception:  # noqa: BLE001 - the engine may be down, or the table not made yet: both mean 0
        return 0
