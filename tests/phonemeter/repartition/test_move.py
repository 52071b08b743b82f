"""The log moved to more partitions on real parts: every app and every alert as before, whatever is killed."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from metering.placement import partition_of
from metering.topics import EVENTS, NOTIFIER_GROUP
from phonemeter.errors import UserError
from phonemeter.kafka_admin import admin
from phonemeter.repartition.log_move import LogMover
from phonemeter.settings import Settings, load
from phonemeter.stack.kafka.progress import committed
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.services import PORTS
from phonemeter.stack.stack import Stack
from phonemeter.topic_reader import offset_spans
from producers.clock import wall_clock_ms
from sinks.connection import connect, rows
from sinks.kafka_consumer import decode_metadata
from sinks.notifier.kafka_log import NOTED
from sinks.position import BEFORE_ALL
from tests.metering.building import HOUR_MS, corrected, event, purchased, succeeded
from tests.real_parts import starts_real_parts
from tests.sinks.notifier.parts import SECRET, SECRET_VARIABLE, Receiver, webhook_routes
from tests.transactions import transaction
from tests.waiting import WITHIN_S, blocking_until

OLD, NEW = 2, 4
PREFIX = "v2."
APPS = [f"wx{letter * 16}" for letter in "abcdefgh"]
SERVICES = ("worker", "sink", "settler", "notifier")
BALANCES = """
SELECT appid, kind, pack_id, reason, sum(calls) AS counted, sum(amount_micro_yuan)
FROM ledger WHERE appid != '' GROUP BY appid, kind, pack_id, reason ORDER BY ALL
"""


@dataclass
class Moving:
    """A Kafka and an engine that run, and the settings before and after the move."""

    old: Settings
    new: Settings

    def run(self, *arguments: str, killed_at: str = "", **changes: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - settings
        """Run the command line, which may kill itself."""
        module = ("tests.phonemeter.repartition.killed_at", killed_at) if killed_at else ("phonemeter",)
        return subprocess.run(
            [sys.executable, "-m", *module, *arguments],
            env={**os.environ, **self.old.replaced(**changes).to_environ()},
            capture_output=True,
            text=True,
            check=False,
        )

    def move(self, *options: str, **named: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - as above
        where = ("--to-prefix", PREFIX, "--partitions", str(NEW))
        return self.run("repartition", *where, *options, **named)

    def mover(self) -> LogMover:
        """The move in this process, which is quicker than a command."""
        return LogMover(self.old, PREFIX, NEW)

    def records_copied(self) -> int:
        return sum(span.end for span in offset_spans(self.new.kafka_access, EVENTS).values())

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.old.clickhouse) as client:
            return rows(client, query)

    def is_stored(self, event_id: str) -> bool:
        with connect(self.old.clickhouse) as client:
            return bool(rows(client, "SELECT 1 FROM ledger WHERE event_id = %(id)s", {"id": event_id}))


@contextmanager
def services(settings: Settings, names: Sequence[str] = SERVICES) -> Iterator[None]:
    """The services as processes, which end in order."""
    environ = {**os.environ, SECRET_VARIABLE: SECRET, **settings.to_environ()}
    with (settings.data_dir / "services.log").open("ab") as log:
        processes = [
            subprocess.Popen([sys.executable, "-m", "phonemeter", name], env=environ, stdout=log, stderr=log)
            for name in names
        ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        statuses = [process.wait(WITHIN_S) for process in processes]
    assert statuses == [0] * len(processes), (settings.data_dir / "services.log").read_text()[-4_000:]


@contextmanager
def producer(settings: Settings) -> Iterator[KafkaProducer]:
    client = KafkaProducer(bootstrap_servers=settings.kafka, acks="all", retries=0)
    try:
        yield client
    finally:
        client.close()


def send(client: KafkaProducer, value: bytes, topic: str = EVENTS, partition: int | None = None) -> None:
    client.send(topic, value, json.loads(value)["subject"].encode(), None, partition).get(WITHIN_S)


def publish_everything(settings: Settings) -> None:
    """Packs, calls, and what other people's producers write."""
    now_ms = wall_clock_ms()
    with producer(settings) as client:
        for app in APPS:
            send(client, purchased(now_ms - 5 * HOUR_MS, f"{app}-1", calls=12, app=app))
            for number in range(15):
                when_ms = now_ms - 4 * HOUR_MS + number * 60_000
                tap = succeeded(when_ms, app=app, event_id=f"{app}-{number}", store="s")
                send(client, tap)
                if number % 5 == 0:
                    send(client, tap)
        app = APPS[0]
        send(client, succeeded(now_ms, app=app), partition=1 - partition_of(app.encode(), OLD))
        for partition in range(OLD):
            client.send(EVENTS, succeeded(now_ms), None, None, partition).get(WITHIN_S)
            client.send(EVENTS, b'{"id":', b"clock", [("trace", b"\xff")], partition).get(WITHIN_S)
            transaction(settings.kafka, EVENTS, [succeeded(now_ms, app=app)], "abort", partition=partition)
        # Each would have changed decisions, so the settler puts these apps in order.
        send(client, corrected(now_ms, f"{APPS[1]}-3", app=APPS[1], void=True, reason="test"))
        for app in APPS[2:4]:
            paid_at_ms = now_ms - 5 * HOUR_MS
            send(client, purchased(now_ms, f"{app}-2", calls=2, days=90, paid_at=paid_at_ms - 1, app=app))


def alerts_of(receiver: Receiver) -> Counter[str]:
    """The alerts that arrived, by what they say; their ids differ between the logs."""
    found: Counter[str] = Counter()
    for body in receiver.verified():
        for alert in body["data"].get("alerts", [body["data"]]):
            found[json.dumps({name: alert[name] for name in alert if name != "id"}, sort_keys=True)] += 1
    return found


@pytest.fixture
@starts_real_parts
def moving(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Moving]:
    ports = {name: free_port() for names in PORTS.values() for name in names}
    old = load(
        data_dir=tmp_path / "data",
        partitions=OLD,
        trial_calls=0,
        settler_interval_ms=200,
        tick_interval_s=1,
        notifier_retry_first_ms=200,
        **ports,
    )
    with Stack(old, only=("kafka", "engine")):
        yield Moving(old, old.replaced(kafka_prefix=PREFIX, partitions=NEW))


def test_the_log_moves_and_everything_goes_on(moving: Moving, tmp_path: Path) -> None:
    with Receiver() as receiver:
        routes = webhook_routes(tmp_path / "routes.toml", receiver.url)
        with services(moving.old.replaced(alert_routes=routes)):
            copy_under_load(moving)
            blocking_until(lambda: len(alerts_of(receiver)) >= len(APPS))
            with pytest.raises(UserError, match=r"running \(consumer group"):
                moving.mover().finish()
        told = alerts_of(receiver)
        assert set(told.values()) == {1}
        with services(moving.old, ("worker", "sink")):
            # An alert that no notifier has handled yet.
            with producer(moving.old) as client:
                data = {"capability": "quick", "errno": 1_400_001}
                send(client, event("phone.authorization.failed", wall_clock_ms(), data, app=APPS[0]))
            refused = "SELECT count() FROM ledger WHERE kind = 'alert' AND reason = 'refused'"
            blocking_until(lambda: moving.stored(refused) == [(1,)])
        before = moving.stored(BALANCES)
        take_it_back(moving)
        finish_it(moving)
        with services(moving.new.replaced(alert_routes=routes)):
            with producer(moving.new) as client:
                for app in APPS:
                    after = succeeded(wall_clock_ms(), app=app, event_id=f"after-{app}")
                    send(client, after, f"{PREFIX}{EVENTS}")
            blocking_until(lambda: all(moving.is_stored(f"after-{app}") for app in APPS))
            blocking_until(lambda: any('"reason": "refused"' in one for one in alerts_of(receiver)))
            blocking_until(lambda: moving.stored("SELECT count() FROM unsettled") == [(0,)])
            audited = moving.run("audit", kafka_prefix=PREFIX, partitions=NEW)
            assert audited.returncode == 0, audited.stdout + audited.stderr
    charged = moving.stored(BALANCES.replace("appid != ''", "appid != '' AND event_id NOT LIKE 'after-%'"))
    assert charged == before
    assert set(alerts_of(receiver).values()) == {1}
    assert told.keys() < alerts_of(receiver).keys()
    assert sum('"reason": "refused"' in one for one in alerts_of(receiver)) == 1


def copy_under_load(moving: Moving) -> None:
    """Copy the log while services and producers run, with copies that are killed."""
    publish_everything(moving.old)
    settled = "SELECT uniqExact(appid) FROM ledger WHERE kind = 'settlement'"
    blocking_until(lambda: moving.stored(settled) >= [(3,)])
    blocking_until(lambda: moving.stored("SELECT count() FROM unsettled") == [(0,)])
    with pytest.raises(UserError, match="5 is not a multiple of the 2 partitions"):
        LogMover(moving.old, PREFIX, 5).copy()
    assert moving.move(killed_at="records").returncode == -9
    with pytest.raises(UserError, match="do not have the whole log yet"):
        ensure_topics(moving.new.kafka_access, NEW)
    there = moving.records_copied()
    first = moving.mover().copy()
    assert 0 < there == moving.records_copied() - first.appended
    with producer(moving.old) as client:
        for app in APPS:
            send(client, succeeded(wall_clock_ms(), app=app, event_id=f"between-{app}"))
    again = moving.mover().copy()
    assert len(APPS) <= again.appended < first.appended
    assert again.records >= first.records + len(APPS)
    with producer(moving.old) as client:
        for app in APPS:
            send(client, succeeded(wall_clock_ms(), app=app, event_id=f"late-{app}"))
    blocking_until(lambda: all(moving.is_stored(f"late-{app}") for app in APPS))


def take_it_back(moving: Moving) -> None:
    """Close the old log, which refuses everybody, and open it again."""
    with pytest.raises(UserError, match="is not closed"):
        moving.mover().abandon()
    assert moving.move("--finish", killed_at="closed").returncode == -9
    refused: list[KafkaError | None] = []
    foreign = Producer({"bootstrap.servers": moving.old.kafka})
    foreign.produce(
        EVENTS, succeeded(wall_clock_ms()), APPS[0], on_delivery=lambda error, _: refused.append(error)
    )
    foreign.flush(WITHIN_S)
    assert [one.code() for one in refused if one] == [KafkaError.MSG_SIZE_TOO_LARGE]
    with producer(moving.old) as client, pytest.raises(MessageSizeTooLargeError):
        send(client, succeeded(wall_clock_ms()))
    event_file = moving.old.data_dir / "one.jsonl"
    event_file.write_bytes(succeeded(wall_clock_ms()) + b"\n")
    emitted = moving.run("emit", str(event_file))
    assert emitted.returncode == 1
    assert "set PHONEMETER_KAFKA_PREFIX to that of the topics" in emitted.stdout + emitted.stderr
    with pytest.raises(UserError, match="closed it to move its log"):
        ensure_topics(moving.old.kafka_access, OLD)
    with pytest.raises(UserError, match="run the command with --finish, or with --abandon"):
        moving.mover().copy()
    moving.mover().abandon()
    ensure_topics(moving.old.kafka_access, OLD)
    with producer(moving.old) as client:
        transaction(moving.old.kafka, EVENTS, [b"aborted again"], "abort", partition=0)


def finish_it(moving: Moving) -> None:
    """Finish the move, killed at every step."""
    for point in ("proven", "aside", "retired"):
        killed = moving.move("--finish", killed_at=point)
        assert killed.returncode == -9, killed.stderr
    done = moving.move("--finish", "--json")
    assert done.returncode == 0, done.stderr
    page = (Path(__file__).parents[3] / "docs" / "reference" / "commands.md").read_text()
    sentence = page.partition("--partitions NUMBER --json`")[2].partition("\n\n")[0]
    assert set(json.loads(done.stdout)) == set(re.findall(r"`(\w+)`", sentence))
    with admin(moving.new.kafka_access) as client:
        noted = committed(client, NOTIFIER_GROUP)
        assert {at.partition for at in noted} == {partition_of(app.encode(), NEW) for app in APPS}
        assert all(decode_metadata(NOTED, one.metadata)[0] > BEFORE_ALL for one in noted.values())
    with pytest.raises(UserError, match=r"was moved to topics with the prefix 'v2\.'"):
        ensure_topics(moving.old.kafka_access, OLD)
    with pytest.raises(UserError, match="cannot be taken back"):
        moving.mover().abandon()
    with pytest.raises(UserError, match=r"was moved to the prefix 'v2\.' already"):
        moving.mover().copy()
    with pytest.raises(UserError, match="is no prefix of topics"):
        LogMover(moving.old, "v 2", NEW)
