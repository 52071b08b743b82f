"""Backup and restore on real parts: every offset, time, row and balance, whatever is killed."""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer
from sqlalchemy import insert, select

from kafka_access.access import KafkaAccess
from metering.rules import Rules
from metering.topics import (
    ALERTS,
    ALL,
    DEAD_LETTERS,
    DELIVERIES,
    EVENTS,
    LEDGER,
    NOTIFIER_GROUP,
    RESTORE_GROUP,
    WORKER_GROUP,
)
from phonemeter.backup.backup_reader import BackupReader
from phonemeter.backup.directory import MANIFEST, UNFINISHED, BackupDirectory
from phonemeter.backup.manifest import Manifest
from phonemeter.backup.restoring import restore
from phonemeter.backup.taking import take_backup
from phonemeter.backup.verification import verify_ledger
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import OWNERS
from phonemeter.errors import OperationError, UserError
from phonemeter.event_log import recorded_rules
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings, load
from phonemeter.stack.kafka.progress import committed
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.topic_reader import open_reader
from sinks.connection import connect, rows
from sinks.preconditions import found_topics
from tests.committing import commit_as
from tests.conftest import PARTITIONS, RunningEngine, RunningKafka, emptied
from tests.header_names import Latin1
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.backup.contents import Contents, contents, contents_of_kafka
from tests.phonemeter.cli.calling import called
from tests.sinks.parts import SinkProcess
from tests.streams.building import APPS, purchase, tap
from tests.streams.worker_process import WorkerProcess, ledger
from tests.transactions import transaction
from tests.waiting import WITHIN_S, blocking_until

FIRST, LOST = 400, 10


@dataclass
class World:
    """A Kafka that had a backup, and what was in it.

    Attributes:
        first: the manifest of the backup that was taken under load.
        manifest: that of the one that was added to it.
        contents: the records of the logs as of that one.
    """

    kafka: RunningKafka
    settings: Settings
    directory: BackupDirectory
    first: Manifest
    manifest: Manifest
    contents: Contents

    def emptied(self) -> None:
        """Lose everything: the topics, the groups, the business database."""
        emptied(self.kafka, PARTITIONS)
        (self.settings.data_dir / "business" / "business.sqlite").unlink(missing_ok=True)

    def killed(self, point: str, *command: str) -> None:
        """Run a command that is killed at a point."""
        environ = {f"PHONEMETER_{name}": value for name, value in self._environ().items()}
        ended = subprocess.run(
            [sys.executable, "-m", "tests.phonemeter.backup.killed_at", point, *command],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == -9, ended.stderr

    def _environ(self) -> dict[str, str]:
        return {
            "KAFKA": self.settings.kafka,
            "CLICKHOUSE": self.settings.clickhouse,
            "DATA_DIR": str(self.settings.data_dir),
        }


def publish(producer: KafkaProducer, number: int, event_id: str | None = None) -> None:
    one = tap(number, APPS[number % 3], event_id)
    producer.send(EVENTS, key=one.key, value=one.value)


def is_checkpointed(kafka: str) -> bool:
    """Return whether the state of every partition is stored."""
    with open_reader(KafkaAccess(kafka)) as reader:
        recorded = recorded_rules(reader, Rules()).recorded
    return all(partition in recorded and recorded[partition].next_offset for partition in range(PARTITIONS))


def publish_others(kafka: str, producer: KafkaProducer) -> None:
    """The records of other people's producers: transactions, headers, and records that are no events."""
    transaction(kafka, EVENTS, [b"aborted"], "abort", partition=1)
    one = purchase(0, calls=50)
    producer.send(EVENTS, key=one.key, value=one.value)
    for number in range(1, FIRST):
        publish(producer, number)
    for partition in range(PARTITIONS):
        producer.send(EVENTS, b"no event", b"key", [("trace", b"\xff")], partition)
    producer.send(EVENTS, b"{}", b"key", [(Latin1("n\xe4me"), b"1")], 2)
    producer.flush()
    bare = Producer({"bootstrap.servers": kafka})
    bare.produce(EVENTS, None, None, 3, headers=[("none", None), ("none", b"")])
    bare.flush(WITHIN_S)
    transaction(kafka, EVENTS, [b"1", b"2"], "commit", partition=0)
    transaction(kafka, EVENTS, [b"3", b"4", b"5"], "abort", partition=0)


@contextmanager
def load_of(producer: KafkaProducer, begin: int) -> Iterator[None]:
    """Publish taps in the block, as fast as one thread can."""
    stop = threading.Event()

    def work() -> None:
        number = begin
        while not stop.is_set():
            publish(producer, number)
            number += 1
            stop.wait(0.002)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        producer.flush()


@pytest.fixture(scope="module")
def world(
    kafka: RunningKafka,
    engine: RunningEngine,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> World:
    """A log that is metered and stored while a backup is taken; a second backup; events that are lost."""
    root = tmp_path_factory.mktemp("backup")
    settings = load(
        kafka=kafka.bootstrap,
        clickhouse=engine.url(f"backup_{secrets.token_hex(4)}"),
        data_dir=root / "data",
        partitions=PARTITIONS,
    )
    emptied(kafka, PARTITIONS)
    directory = BackupDirectory(root / "copy")
    with BusinessDatabase(settings.business_url) as database, database.begin() as connection:
        connection.execute(insert(OWNERS), [{"owner_id": "o1", "name": "店", "created_at_ms": 1}])
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    publish_others(kafka.bootstrap, producer)
    with (
        WorkerProcess(kafka.bootstrap, free_port(), root) as worker,
        SinkProcess(kafka.bootstrap, settings.clickhouse, free_port(), root / "sink.log") as sink,
    ):
        blocking_until(lambda: len(ledger(kafka.bootstrap)) >= FIRST)
        blocking_until(lambda: is_checkpointed(kafka.bootstrap))
        with load_of(producer, FIRST):
            first = take_backup(settings, directory).manifest
        commit_as(NOTIFIER_GROUP, kafka.bootstrap, ALERTS, 0, 'asked 3 1 ["id",-1,77,5]')
        kept = {path: path.stat().st_mtime_ns for path in directory.path.rglob("phone-events/*/*")}
        manifest = take_backup(settings, directory).manifest
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        for number in range(LOST):
            publish(producer, number, f"lost-{number}")
        producer.flush()

        def lost_are_stored() -> bool:
            with connect(settings.clickhouse) as client:
                return rows(client, "SELECT count() FROM ledger WHERE event_id LIKE 'lost-%'") == [(LOST,)]

        blocking_until(lost_are_stored)
        worker.terminate()
        sink.end()
    producer.close()
    before = contents_of_kafka(KafkaAccess(kafka.bootstrap), manifest)
    return World(kafka, settings, directory, first, manifest, before)


def test_a_backup_is_consistent_although_it_was_taken_under_load(world: World) -> None:
    for manifest in (world.first, world.manifest):
        reader = BackupReader(world.directory.path, manifest)
        entries = verify_ledger(reader, manifest, world.settings.rules(), lambda _: None, of="in it")
        assert entries >= FIRST
        metered = {partition: part.next_offset for partition, part in manifest.metered.items()}
        assert all(metered[at] <= span.end for at, span in reader.spans(EVENTS).items())
    assert contents(BackupReader(world.directory.path, world.manifest), world.manifest) == world.contents
    assert world.contents[EVENTS, 1][0].offset == 2
    first, second = (one.topics[EVENTS].records for one in (world.first, world.manifest))
    assert FIRST < first <= second


def test_everything_is_restored_and_the_services_go_on(
    world: World, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    kafka, settings = world.kafka.bootstrap, world.settings
    world.emptied()
    on_cluster = settings.model_copy(update={"clickhouse": f"{settings.clickhouse}?cluster=two"})
    with pytest.raises(
        UserError, match=r"^restore of .* exchanges tables in one step, which cluster two cannot"
    ):
        restore(on_cluster, world.directory, world.manifest)
    done = restore(settings, world.directory, world.manifest)
    assert contents_of_kafka(KafkaAccess(kafka), world.manifest) == world.contents
    assert done.ledger_kept_as.startswith("ledger_until_")
    with BusinessDatabase(settings.business_url) as database, database.begin() as connection:
        assert connection.execute(select(OWNERS)).all() == [("o1", "店", 1)]
    with admin(KafkaAccess(kafka)) as client:
        config = found_topics(client)[EVENTS].config
        assert config is not None
        assert config["message.timestamp.type"] == "LogAppendTime"
        assert committed(client, RESTORE_GROUP) == {}
        worker_offsets = {at.partition: one.offset for at, one in committed(client, WORKER_GROUP).items()}
        assert worker_offsets == {at: part.next_offset for at, part in world.manifest.metered.items()}
        (notifier,) = committed(client, NOTIFIER_GROUP).values()
        assert notifier.metadata == 'asked 3 1 ["",-1,77,-1]'
    with open_reader(KafkaAccess(kafka)) as reader:
        rules = settings.rules()
        assert verify_ledger(reader, world.manifest, rules, lambda _: None, of="restored") >= FIRST

    producer = KafkaProducer(bootstrap_servers=kafka)
    with (
        WorkerProcess(kafka, free_port(), tmp_path) as worker,
        SinkProcess(kafka, settings.clickhouse, free_port(), tmp_path / "sink.log") as sink,
    ):
        publish(producer, FIRST, "after")
        producer.close()
        blocking_until(lambda: any(one.event_id == "after" for one in ledger(kafka).values()))
        report = settled(settings)
        assert worker.terminate() == 0
        sink.end()
    assert report.clean
    assert report.another_log == ""
    assert (
        sum(one.records for one in report.partitions)
        == sum(len(found) for (topic, _), found in world.contents.items() if topic == EVENTS) + 1
    )
    assert (tmp_path / "worker.log").read_text().count("continues at offset") == PARTITIONS


def test_a_restore_that_is_killed_anywhere_goes_on(world: World) -> None:
    kafka = world.kafka.bootstrap
    world.emptied()
    for point in ("gap", "records", "rows", "end"):
        world.killed(point, "restore", str(world.directory.path))
        with pytest.raises(UserError, match="was not finished: run `phonemeter restore` again"):
            ensure_topics(KafkaAccess(kafka), PARTITIONS)
    restore(world.settings, world.directory, world.manifest)
    assert contents_of_kafka(KafkaAccess(kafka), world.manifest) == world.contents
    ensure_topics(KafkaAccess(kafka), PARTITIONS)
    with BusinessDatabase(world.settings.business_url) as database, database.begin() as connection:
        assert connection.execute(select(OWNERS.c.owner_id)).all() == [("o1",)]


def test_a_restore_that_was_killed_refuses_what_others_wrote_since(world: World, tmp_path: Path) -> None:
    world.emptied()
    world.killed("records", "restore", str(world.directory.path))
    other = BackupDirectory(tmp_path)
    (tmp_path / MANIFEST).write_bytes((world.directory.path / MANIFEST).read_bytes() + b"\n")
    with pytest.raises(UserError, match=r"A restore of another backup into Kafka at .* was not finished"):
        restore(world.settings, other, world.manifest)
    producer = KafkaProducer(bootstrap_servers=world.kafka.bootstrap)
    producer.send(DEAD_LETTERS, b"of somebody else", partition=0).get(WITHIN_S)
    producer.close()
    with pytest.raises(OperationError, match="phone-dead-letters partition 0 has another record"):
        restore(world.settings, world.directory, world.manifest)
    with admin(world.settings.kafka_access) as client:
        client.delete_topics([topic.name for topic in ALL])
        blocking_until(lambda: EVENTS not in client.list_topics())
    (world.settings.data_dir / "business" / "business.sqlite").unlink(missing_ok=True)
    restore(world.settings, world.directory, world.manifest)
    assert contents_of_kafka(world.settings.kafka_access, world.manifest) == world.contents


def test_a_backup_that_is_killed_goes_on_behind_its_last_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.emptied()
    restore(world.settings, world.directory, world.manifest)
    world.killed("files", "backup", str(tmp_path / "copy"))
    copy = BackupDirectory(tmp_path / "copy")
    begun = json.loads((copy.path / UNFINISHED).read_text())
    copied = {file["name"] for part in begun["topics"][LEDGER]["partitions"] for file in part["files"]}
    assert copied
    environ = {
        "PHONEMETER_DATA_DIR": str(world.settings.data_dir),
        "PHONEMETER_CLICKHOUSE": world.settings.clickhouse,
    }
    done = called(
        monkeypatch, capsys, tmp_path, world.kafka.bootstrap, "backup", copy.path, "--json", **environ
    )
    assert done.returncode == 0, done.stderr
    manifest = copy.manifest()
    assert copied <= {file.name for file in manifest.files}
    assert contents(BackupReader(copy.path, manifest), manifest) == world.contents
    assert done.json["new_records"] < sum(done.json["records"].values())
    assert done.json["business"] is True

    shown = called(monkeypatch, capsys, tmp_path, world.kafka.bootstrap, "restore", copy.path, **environ)
    assert shown.returncode == 2
    assert "is not empty: phone-events partition 0 ends at offset" in shown.stderr


def test_another_log_is_not_added_to_a_backup(world: World) -> None:
    world.emptied()
    with pytest.raises(UserError, match=r"phone-\w+ partition \d is not the log that .* has a backup of"):
        take_backup(world.settings, world.directory)
    assert world.directory.manifest() == world.manifest


def test_deliveries_are_copied_as_they_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.emptied()
    producer = KafkaProducer(bootstrap_servers=world.kafka.bootstrap)
    for value in (b"void", b"valid", None):
        producer.send(DELIVERIES, value, b"key", partition=1).get(WITHIN_S)
    producer.close()
    take_backup(world.settings, BackupDirectory(tmp_path / "copy"))
    world.emptied()
    done = called(
        monkeypatch,
        capsys,
        tmp_path,
        world.kafka.bootstrap,
        *("restore", "copy", "--json"),
        PHONEMETER_DATA_DIR=str(world.settings.data_dir),
        PHONEMETER_CLICKHOUSE=world.settings.clickhouse,
    )
    assert done.returncode == 0, done.stderr
    page = (Path(__file__).parents[3] / "docs" / "reference" / "commands.md").read_text()
    sentence = page.partition("`phonemeter restore DIR --json` needs")[2].partition("\n\n")[0]
    assert set(done.json) == set(re.findall(r"`(\w+)`", sentence))
    with open_reader(world.settings.kafka_access) as reader:
        (span,) = [reader.spans(DELIVERIES)[1]]
        found = [one.value for batch in reader.batches(DELIVERIES, 1, span) for one in batch]
    assert found == [b"void", b"valid", None]
