"""The worker as a process on a real broker, with kill -9 and with records that no producer would send."""

import json
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from kafka_access.access import KafkaAccess
from metering import dead_letters
from metering import topics as names
from metering.ledger import Entry, decode_rows
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.placement import partition_of
from metering.records import Record, RecordRange
from metering.rules import Rules
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import ensure_topics
from tests.conftest import PARTITIONS, RunningKafka
from tests.damage import damage
from tests.header_names import Latin1
from tests.streams.building import purchase, tap
from tests.streams.worker_process import WorkerProcess, consumer, ledger, records_of
from tests.waiting import WITHIN_S, blocking_until

APPS = [f"wx{number:016x}" for number in range(12)]
MISPLACED = 'phonemeter_worker_wrong_partition_records_total{source="/tests"}'


@pytest.fixture
def producer(topics: RunningKafka) -> Iterator[KafkaProducer]:
    client = KafkaProducer(bootstrap_servers=topics.bootstrap)
    yield client
    client.close()


def traffic(count: int, first: int = 0) -> Sequence[Record]:
    """Taps of several apps, one in forty repeated, with a small pack for each app in the middle."""
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
    """The ledger that the rules alone give for the log on the broker."""
    entries = {}
    with consumer(kafka) as client:
        for partition in client.partitions_for_topic(names.EVENTS) or ():
            tp = TopicPartition(names.EVENTS, partition)
            client.assign([tp])
            end = client.end_offsets([tp])[tp]
            log: list[Record] = []
            while client.position(tp) < end:
                for records in client.poll(200).values():
                    log += [Record(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records]
            state = PartitionState(partition, partitions=PARTITIONS)
            for entry in meter(state, RecordRange(log, 0, end), Rules()).entries:
                entries[partition, entry.offset, entry.line] = entry
    return entries


@contextmanager
def transaction(kafka: str, name: str, *, commits: bool = True) -> Iterator[Producer]:
    """A producer within a transaction, which is committed or aborted at the end."""
    client = Producer({"bootstrap.servers": kafka, "transactional.id": name, "partitioner": "murmur2"})
    client.init_transactions(WITHIN_S)
    client.begin_transaction()
    yield client
    client.flush(WITHIN_S)
    if commits:
        client.commit_transaction(WITHIN_S)
    else:
        client.abort_transaction(WITHIN_S)


def send(client: Producer, records: Sequence[Record]) -> None:
    for record in records:
        client.produce(names.EVENTS, key=record.key, value=record.value)
    client.flush(WITHIN_S)


def wait_for_ledger(kafka: str, within_s: float = 120) -> dict[tuple[int, int, int], Entry]:
    """Wait until the ledger has as many entries as the rules give; returns it."""
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
        blocking_until(lambda: worker.metric("phonemeter_worker_records_total") == 3_000)


def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        for kill in range(3):
            published = len(records_of(topics.bootstrap, names.LEDGER))
            publish(producer, traffic(2_000, first=2_000 * kill))
            blocking_until(partial(_ledger_grew, topics.bootstrap, published))
            worker.restart()
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)


def test_the_worker_goes_back_for_records_that_deliveries_left_out(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path, app="tests.streams.skipping_app") as worker:
        for part in range(5):
            publish(producer, traffic(1_000, first=1_000 * part))
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)
        assert worker.metric("phonemeter_worker_seeks_back_total") > 0


def test_transactions_are_metered_once_they_are_committed_and_never_if_they_are_aborted(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    kafka = topics.bootstrap
    with WorkerProcess(kafka, free_port(), tmp_path) as worker:
        for part in range(4):
            with transaction(kafka, f"framework-{part}", commits=part % 2 == 0) as client:
                send(client, traffic(100, first=1_000 * part))
            publish(producer, traffic(100, first=1_000 * part + 500))
        entries = wait_for_ledger(kafka)
        worker.restart()
        publish(producer, traffic(100, first=9_000))
        entries = wait_for_ledger(kafka)
        assert entries == expected(kafka)
        calls = {entry.event_id for entry in entries.values() if entry.event_id.startswith("tap-")}
        assert {"tap-0", "tap-2000", "tap-9000"} <= calls
        assert not calls & {"tap-1000", "tap-3000"}
        # Nothing was taken for missing, and the worker has passed the last control record.
        assert worker.metric("phonemeter_worker_seeks_back_total") == 0
        blocking_until(lambda: worker.metric("phonemeter_worker_next_offset") == sum(ends(kafka)))
        assert worker.metric("phonemeter_worker_lag_records") == 0


def test_records_behind_an_open_transaction_are_reported_as_held_up_and_are_no_gap(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    kafka = topics.bootstrap
    with WorkerProcess(kafka, free_port(), tmp_path) as worker:
        with transaction(kafka, "framework") as client:
            send(client, traffic(12))
            publish(producer, traffic(12, first=100))
            blocking_until(lambda: worker.metric("phonemeter_worker_held_up_records") == 24)
            blocking_until(lambda: "a transaction of a producer" in worker.log)
            assert worker.metric("phonemeter_worker_lag_records") == 0
            assert ledger(kafka) == {}
        assert wait_for_ledger(kafka) == expected(kafka)
        blocking_until(lambda: worker.metric("phonemeter_worker_held_up_records") == 0)
        assert worker.metric("phonemeter_worker_seeks_back_total") == 0


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
        "too_large": (good.key, b"x" * 65_537),
        "key_missing": (None, good.value),
        "key_mismatch": (b"wxother", good.value),
    }
    for key, value in bad.values():
        producer.send(names.EVENTS, key=key, value=value)
    away = (partition_of(good.key or b"", PARTITIONS) + 1) % PARTITIONS
    bad["wrong_partition"] = (good.key, good.value)
    producer.send(names.EVENTS, key=good.key, value=good.value, partition=away)
    publish(producer, [good])
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        entries = wait_for_ledger(topics.bootstrap)
        blocking_until(lambda: worker.metric(MISPLACED) == 1)
        letters = [
            dead_letters.decode(value or b"")
            for _, _, value in records_of(topics.bootstrap, names.DEAD_LETTERS)
        ]
    assert Counter(entry.reason for entry in entries.values() if entry.kind == "rejection") == Counter(
        list(bad)
    )
    cut = bad | {"too_large": (good.key, b"x" * 65_536)}
    assert {letter.reason: (letter.key, letter.value) for letter in letters} == cut
    assert all(letter.sentence.endswith(".") for letter in letters)
    assert [entry.event_id for entry in entries.values() if entry.kind == "trial_charge"] == ["tap-0"]


def test_a_record_that_is_too_large_uncompressed_gets_a_dead_letter_and_does_not_end_the_worker(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    good = tap(0, APPS[0])
    large = json.dumps(json.loads(good.value or b"") | {"debug": "x" * 5_000_000}).encode()
    client = KafkaProducer(
        bootstrap_servers=topics.bootstrap, compression_type="gzip", max_request_size=len(large) * 2
    )
    place = client.send(names.EVENTS, key=good.key, value=large, headers=[("big", b"y" * 900_000)]).get(
        WITHIN_S
    )
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        blocking_until(lambda: len(records_of(topics.bootstrap, names.DEAD_LETTERS)) == 1, 90)
        publish(client, [good])
        blocking_until(lambda: len(wait_for_ledger(topics.bootstrap)) == 3, 90)
        assert worker.process.poll() is None
    client.close()
    ((partition, _, value),) = records_of(topics.bootstrap, names.DEAD_LETTERS)
    letter = dead_letters.decode(value or b"")
    assert (partition, letter.offset, letter.reason) == (place.partition, place.offset, "too_large")
    assert letter.original is not None
    assert letter.original.value_sha256 == sha256(large).hexdigest()
    assert large.startswith(letter.value or b"?")


def test_a_header_whose_name_is_not_utf8_gets_a_dead_letter_and_does_not_end_the_worker(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    good = tap(0, APPS[0])
    place = producer.send(
        names.EVENTS, key=good.key, value=good.value, headers=[(Latin1("straße"), b"1")]
    ).get(WITHIN_S)
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        blocking_until(lambda: len(records_of(topics.bootstrap, names.DEAD_LETTERS)) == 1)
        # The log is compared at that record before the checkpoint, and again at the takeover.
        assert worker.terminate() == 0
        publish(producer, [good])
        worker.restart()
        blocking_until(lambda: len(ledger(topics.bootstrap)) == 3)
    assert [one.kind for one in ledger(topics.bootstrap).values()] == [
        "rejection",
        "trial_grant",
        "trial_charge",
    ]
    ((_, _, value),) = records_of(topics.bootstrap, names.DEAD_LETTERS)
    letter = dead_letters.decode(value or b"")
    assert (letter.offset, letter.reason, letter.value) == (place.offset, "not_utf8", good.value)
    assert letter.sentence == "The name of a header is not UTF-8 text."


@contextmanager
def two_workers(
    bootstrap: str, free_port: Callable[[], int], directory: Path
) -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    """Two workers of one group, for the block."""
    (directory / "second").mkdir()
    with (
        WorkerProcess(bootstrap, free_port(), directory) as first,
        WorkerProcess(bootstrap, free_port(), directory / "second") as second,
    ):
        yield first, second


def test_two_workers_share_the_partitions_and_one_takes_over_when_the_other_is_killed(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with two_workers(topics.bootstrap, free_port, tmp_path) as (first, second):
        publish(producer, traffic(1_000))
        wait_for_ledger(topics.bootstrap)
        second.kill()
        publish(producer, traffic(1_000, first=1_000))
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)
        assert first.process.poll() is None


def test_workers_that_are_restarted_one_after_the_other_under_load_lose_nothing(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with two_workers(topics.bootstrap, free_port, tmp_path) as (first, second):
        publish(producer, traffic(500))
        wait_for_ledger(topics.bootstrap)
        for number, worker in enumerate((first, second), 1):
            sending = threading.Thread(target=publish, args=(producer, traffic(1_000, first=1_000 * number)))
            sending.start()
            assert worker.terminate() == 0
            worker.restart()
            sending.join()
            wait_for_ledger(topics.bootstrap)
        assert wait_for_ledger(topics.bootstrap) == expected(topics.bootstrap)


def test_a_zombie_that_was_suspended_changes_nothing(
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


def test_a_takeover_begins_with_its_fence(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """A later owner finds the fence, so that records of a zombie do no harm."""
    publish(producer, traffic(200))
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        wait_for_ledger(topics.bootstrap)
        assert worker.terminate() == 0
        worker.restart()
        blocking_until(lambda: worker.log.count("continues at offset") == 8)
    with consumer(topics.bootstrap) as client:
        for partition in range(4):
            stored = [record.key for record in _all_of(client, TopicPartition(names.STATE, partition))]
            epochs = [key.rpartition(b"#")[2].partition(b".")[0] for key in stored]
            first_of = dict(zip(reversed(epochs), reversed(stored), strict=True))
            assert list(first_of.values()) == [b"header#" + epoch for epoch in first_of]
            assert len(first_of) == 2


def test_with_the_wall_clock_every_partition_gets_clock_ticks(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path, clock="wall"):
        blocking_until(lambda: _partitions_with_ticks(topics.bootstrap) == {0, 1, 2, 3})
    assert ledger(topics.bootstrap) == {}


def test_a_topic_that_was_created_again_is_refused_in_a_sentence(
    topics: RunningKafka, producer: KafkaProducer, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    publish(producer, traffic(200))
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        wait_for_ledger(topics.bootstrap)
        assert worker.terminate() == 0
        _recreate_events(topics.bootstrap)
        publish(producer, traffic(20))
        worker.restart()
        assert worker.process.wait(timeout=WITHIN_S) != 0
        assert "the topic was recreated" in worker.log
        assert "Traceback" not in worker.log.rpartition("the worker stops")[2].partition("\n[")[0]


DAMAGE = (
    (names.EVENTS, b'"specversion"', "What was recorded there is in no other topic."),
    (names.STATE, b"", "run `phonemeter replay --confirm`"),
)


@pytest.mark.parametrize("case", DAMAGE, ids=(names.EVENTS, names.STATE))
def test_damage_is_reported_with_its_place_and_the_way_out(
    case: tuple[str, bytes, str],
    topics: RunningKafka,
    producer: KafkaProducer,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> None:
    topic, text, way_out = case
    publish(producer, traffic(200))
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        wait_for_ledger(topics.bootstrap)
        assert worker.terminate() == 0
        publish(producer, traffic(200, first=200))
        damage(topics, topic, text)
        worker.restart()
        assert worker.process.wait(timeout=WITHIN_S) != 0
        log_line = worker.log.partition("the worker stops: ")[2].partition("\n[")[0]
    assert re.match(rf"{topic} partition 0 is damaged at offset \d+: its bytes there are not those", log_line)
    assert way_out in log_line
    assert "Traceback" not in log_line


def _partitions_with_ticks(kafka: str) -> set[int]:
    records = records_of(kafka, names.EVENTS)
    return {partition for partition, _, value in records if b"clock.ticked" in (value or b"")}


def _all_of(client: KafkaConsumer, tp: TopicPartition) -> list[ConsumerRecord]:
    client.assign([tp])
    end, found = client.end_offsets([tp])[tp], []
    while client.position(tp) < end:
        for records in client.poll(200).values():
            found += records
    return found


def ends(kafka: str) -> list[int]:
    """The ends of the partitions of the events topic."""
    with consumer(kafka) as client:
        tps = [TopicPartition(names.EVENTS, p) for p in client.partitions_for_topic(names.EVENTS) or ()]
        return list(client.end_offsets(tps).values())


def _ledger_grew(kafka: str, records: int) -> bool:
    return len(records_of(kafka, names.LEDGER)) > records


def _recreate_events(kafka: str) -> None:
    with admin(KafkaAccess(kafka)) as client:
        client.delete_topics([names.EVENTS])
        blocking_until(lambda: names.EVENTS not in client.list_topics())
    ensure_topics(KafkaAccess(kafka), 4)


def test_large_events_are_metered_in_bounded_memory(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Events of one app with long debug texts, which compress to almost nothing."""
    count = 6_000
    settings = {"compression.type": "zstd", "batch.size": 8_000_000, "message.max.bytes": 30_000_000}
    client = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": 100, **settings})
    for number in range(count):
        event = json.loads(tap(number).value or b"")
        value = json.dumps(event | {"debug": "x" * 65_000})
        client.produce(names.EVENTS, value, APPS[0], on_delivery=_delivered)
        client.poll(0)
    client.flush(WITHIN_S)
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        blocking_until(lambda: worker.metric("phonemeter_worker_records_total") == count, 120)
        peak_kb = Path(f"/proc/{worker.process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    assert int(peak_kb) < 400_000


def _delivered(error: KafkaError | None, _message: object) -> None:
    assert error is None
