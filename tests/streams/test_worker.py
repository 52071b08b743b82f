"""The worker as its operators run it: a process on a real broker, kill -9, records no producer would send."""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from metering import dead_letters
from metering import topics as names
from metering.ledger import Entry, decode_rows
from metering.partition import PartitionState, Record, meter
from metering.rules import Rules
from phonemeter.stack.kafka.topics import admin, ensure_topics
from tests.conftest import RunningKafka
from tests.streams.building import purchase, tap
from tests.streams.worker_process import WorkerProcess, consumer, ledger, records_of
from tests.waiting import blocking_until

APPS = [f"wx{number:016x}" for number in range(12)]


@pytest.fixture
def producer(topics: RunningKafka) -> Iterator[KafkaProducer]:
    client = KafkaProducer(bootstrap_servers=topics.bootstrap)
    yield client
    client.close()


def traffic(count: int, first: int = 0) -> Sequence[Record]:
    """Taps of several apps, one in forty a repetition, with a small pack for each app in the middle."""
    records = []
    for number in range(first, first + count):
        appid = APPS[number * number % len(APPS)]
        if number % 200 == 100:
            records.append(purchase(number, appid, 20))
        else:
            records.append(tap(number, appid, f"tap-{number - number % 40 if number % 40 == 1 else number}"))
    return records


def publish(producer: KafkaProducer, records: Sequence[Record]) -> None:
    for record in records:
        producer.send(names.EVENTS, key=record.key, value=record.value)
    producer.flush()


def expected(kafka: str) -> dict[tuple[int, int, int], Entry]:
    """What the rules alone say of the log as it stands on the broker."""
    entries = {}
    with consumer(kafka) as client:
        for partition in client.partitions_for_topic(names.EVENTS) or ():
            tp = TopicPartition(names.EVENTS, partition)
            client.assign([tp])
            end = client.end_offsets([tp])[tp]
            log: list[Record] = []
            while client.position(tp) < end:
                for records in client.poll(200).values():
                    log += [Record(r.offset, r.timestamp, r.key, r.value) for r in records]
            for entry in meter(PartitionState(partition), log, Rules()).entries:
                entries[partition, entry.offset, entry.line] = entry
    return entries


def wait_for_ledger(kafka: str, within_s: float = 60) -> dict[tuple[int, int, int], Entry]:
    """The ledger, once it has as many lines as the rules say."""
    wanted = len(expected(kafka))
    found: dict[tuple[int, int, int], Entry] = {}

    def complete() -> bool:
        found.update(ledger(kafka))
        return len(found) >= wanted

    blocking_until(complete, within_s)
    return found


def test_the_ledger_on_the_broker_is_what_the_rules_say_of_the_log(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    publish(producer, traffic(3_000))
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)
        blocking_until(lambda: worker.metric("phonemeter_worker_records_total") == 3_000, 10)


def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        for kill in range(3):
            published = len(records_of(topics.bootstrap, names.LEDGER))
            publish(producer, traffic(2_000, first=2_000 * kill))
            blocking_until(partial(_ledger_grew, topics.bootstrap, published), 30)
            worker.restart()
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)


def test_deliveries_that_leave_records_out_are_gone_back_for(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path, app="tests.streams.skipping_app") as worker:
        for part in range(5):
            publish(producer, traffic(1_000, first=1_000 * part))
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)
        assert worker.metric("phonemeter_worker_seeks_back_total") > 0


def test_offsets_are_committed_as_far_as_the_state_goes(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    publish(producer, traffic(500))
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        wait_for_ledger(topics.bootstrap)
        assert worker.terminate() == 0
    with consumer(topics.bootstrap) as client:
        tps = [TopicPartition(names.EVENTS, p) for p in client.partitions_for_topic(names.EVENTS) or ()]
        ends = client.end_offsets(tps)
    group = KafkaConsumer(
        bootstrap_servers=topics.bootstrap, group_id=names.WORKER_GROUP, enable_auto_commit=False
    )
    try:
        assert {tp: group.committed(tp) or 0 for tp in tps} == ends
    finally:
        group.close()


def test_a_worker_that_was_told_to_stop_leaves_nothing_to_be_metered_again(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    publish(producer, traffic(300))
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        wait_for_ledger(topics.bootstrap)
        assert worker.terminate() == 0
        publish(producer, traffic(300, first=300))
        worker.restart()
        entries = wait_for_ledger(topics.bootstrap)
    values = [value or b"" for _, _, value in records_of(topics.bootstrap, names.LEDGER)]
    assert sum(len(decode_rows(value).rows) for value in values) == len(entries)


def test_records_that_are_no_events_become_dead_letters_and_block_nothing(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    good = tap(0, APPS[0])
    event = json.loads(good.value or b"")
    bad = {
        "not_json": (good.key, b'{"specversion":'),
        "not_utf8": (good.key, b"\xff\xfe"),
        "invalid_field": (good.key, json.dumps(event | {"time": 12}).encode()),
        "unknown_type": (good.key, json.dumps(event | {"type": "phone.authorization.guessed"}).encode()),
        "time_out_of_range": (good.key, json.dumps(event | {"time": "2099-01-01T00:00:00Z"}).encode()),
        "too_large": (good.key, b"x" * 1_000_000),
        "key_missing": (None, good.value),
        "key_mismatch": (b"wxother", good.value),
    }
    for key, value in bad.values():
        producer.send(names.EVENTS, key=key, value=value)
    publish(producer, [good])
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path):
        entries = wait_for_ledger(topics.bootstrap)
        letters = [
            dead_letters.decode(value or b"")
            for _, _, value in records_of(topics.bootstrap, names.DEAD_LETTERS)
        ]
    assert Counter(entry.reason for entry in entries.values() if entry.kind == "rejection") == Counter(
        list(bad)
    )
    assert {letter.reason: (letter.key, letter.value) for letter in letters} == bad
    assert all(letter.sentence.endswith(".") for letter in letters)
    assert [entry.event_id for entry in entries.values() if entry.kind == "trial_charge"] == ["tap-0"]


def test_two_workers_share_the_partitions_and_one_takes_over_when_the_other_is_killed(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    (tmp_path / "second").mkdir()
    with (
        WorkerProcess(topics.bootstrap, free_port(), tmp_path) as first,
        WorkerProcess(topics.bootstrap, free_port(), tmp_path / "second") as second,
    ):
        publish(producer, traffic(1_000))
        wait_for_ledger(topics.bootstrap)
        second.kill()
        publish(producer, traffic(1_000, first=1_000))
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)
        assert first.process.poll() is None


def test_a_worker_that_stood_still_until_it_was_replaced_changes_nothing(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    (tmp_path / "second").mkdir()
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as frozen:
        publish(producer, traffic(500))
        wait_for_ledger(topics.bootstrap)
        publish(producer, traffic(500, first=500))
        frozen.process.send_signal(signal.SIGSTOP)
        with WorkerProcess(topics.bootstrap, free_port(), tmp_path / "second"):
            wait_for_ledger(topics.bootstrap)
            frozen.process.send_signal(signal.SIGCONT)
            publish(producer, traffic(500, first=1_000))
            assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)


def test_by_the_wall_clock_every_partition_is_told_the_time(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path, clock="wall"):
        blocking_until(lambda: _partitions_told_the_time(topics.bootstrap) == {0, 1, 2, 3}, 30)
    assert ledger(topics.bootstrap) == {}


def test_a_log_that_was_emptied_under_the_state_is_refused_in_a_sentence(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    publish(producer, traffic(200))
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        wait_for_ledger(topics.bootstrap)
        assert worker.terminate() == 0
        _recreate_events(topics.bootstrap)
        publish(producer, traffic(20))
        worker.restart()
        assert worker.process.wait(timeout=30) != 0
        assert "the topic was deleted or cut" in worker.log
        assert "Traceback" not in worker.log.rpartition("the worker stops")[2].partition("\n[")[0]


def _partitions_told_the_time(kafka: str) -> set[int]:
    records = records_of(kafka, names.EVENTS)
    return {partition for partition, _, value in records if b"clock.ticked" in (value or b"")}


def _ledger_grew(kafka: str, records: int) -> bool:
    return len(records_of(kafka, names.LEDGER)) > records


def _recreate_events(kafka: str) -> None:
    with admin(kafka) as client:
        client.delete_topics([names.EVENTS])
        blocking_until(lambda: names.EVENTS not in client.list_topics(), 10)
    ensure_topics(kafka, 4)
