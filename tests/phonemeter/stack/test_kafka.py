import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from kafka_access.access import KafkaAccess
from metering.topics import ALL, EVENTS
from phonemeter.errors import OperationError, UserError
from phonemeter.kafka_admin import admin
from phonemeter.program_settings import StackSettings
from phonemeter.stack.kafka.broker import Broker
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.probes import HOST, listens
from phonemeter.stack.supervisor import ServiceSpec, ServiceState, Supervised
from tests.conftest import PARTITIONS, RunningKafka
from tests.waiting import WITHIN_S, blocking_until, until

RECORDS = [f"event {number}".encode() for number in range(500)]


def publish(bootstrap: str) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for record in RECORDS:
        producer.send(EVENTS, record, partition=0)
    producer.flush(timeout=WITHIN_S)
    producer.close()


def stored(bootstrap: str) -> list[bytes]:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    partition = TopicPartition(EVENTS, 0)
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    values: list[bytes] = []
    while consumer.position(partition) < end:
        for records in consumer.poll(timeout_ms=200).values():
            values += [record.value for record in records]
    consumer.close()
    return values


def partitions_of(bootstrap: str) -> dict[str, int]:
    with admin(KafkaAccess(bootstrap)) as client:
        described = client.describe_topics(client.list_topics())
        return {topic["name"]: len(topic["partitions"]) for topic in described}


@pytest.mark.stack
async def test_acknowledged_records_survive_kill_and_stop_of_the_broker_and_deleted_ones_do_not(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    bootstrap = f"{HOST}:{port}"
    broker = Broker(tmp_path, StackSettings().cache_dir, port, free_port(), heap_mb=256)
    kafka = Supervised(ServiceSpec("kafka", broker.prepare(), partial(listens, port), tmp_path / "kafka.log"))
    try:
        await kafka.start()
        await asyncio.to_thread(ensure_topics, KafkaAccess(bootstrap), PARTITIONS)
        await asyncio.to_thread(publish, bootstrap)

        killed = kafka.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: kafka.pid not in {None, killed} and kafka.state is ServiceState.READY)
        assert await asyncio.to_thread(stored, bootstrap) == RECORDS
        assert kafka.restart_count == 1

        with admin(KafkaAccess(bootstrap)) as client:
            client.delete_records({TopicPartition(EVENTS, 0): 100})
        begins = tmp_path / "data" / "log-start-offset-checkpoint"
        await until(lambda: f"{EVENTS} 0 100" in begins.read_text())
        killed = kafka.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: kafka.pid not in {None, killed} and kafka.state is ServiceState.READY)
        assert await asyncio.to_thread(stored, bootstrap) == RECORDS[100:]
        assert kafka.restart_count == 2

        began = time.monotonic()
        await kafka.stop()
        assert time.monotonic() - began < 10
        assert kafka.pid is None

        await kafka.start()
        assert await asyncio.to_thread(stored, bootstrap) == RECORDS[100:]
    finally:
        await kafka.stop()


def test_every_topic_is_created_once_with_its_partitions_and_config(topics: RunningKafka) -> None:
    ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)
    assert {name: partitions_of(topics.bootstrap)[name] for name in (topic.name for topic in ALL)} == {
        topic.name: PARTITIONS for topic in ALL
    }


def test_missing_topics_are_added_to_those_that_are_there(topics: RunningKafka) -> None:
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_topics([EVENTS])
        blocking_until(lambda: EVENTS not in client.list_topics())
    ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)
    assert partitions_of(topics.bootstrap)[EVENTS] == PARTITIONS


def test_another_partition_count_is_refused_naming_the_setting(topics: RunningKafka) -> None:
    with pytest.raises(UserError, match=r"phone-events has 4 partitions but PHONEMETER_PARTITIONS .* is 8"):
        ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS * 2)


def test_a_topic_in_producer_time_is_refused(topics: RunningKafka) -> None:
    timestamp_type = {"message.timestamp.type": "CreateTime"}
    asked = ConfigResource(ConfigResourceType.TOPIC, EVENTS, list(timestamp_type))
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EVENTS, timestamp_type)])
        blocking_until(
            lambda: "LogAppendTime" not in str(client.describe_configs([asked], config_filter="all")),
        )
    with pytest.raises(
        UserError, match=r"phone-events has message.timestamp.type=CreateTime .* LogAppendTime"
    ):
        ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)


def test_a_broker_that_does_not_answer_is_named_with_its_setting(free_port: Callable[[], int]) -> None:
    port = free_port()
    with (
        pytest.raises(OperationError, match=rf"Kafka at {HOST}:{port} does not answer; .* PHONEMETER_KAFKA"),
        admin(KafkaAccess(f"{HOST}:{port}")),
    ):
        pass


@pytest.mark.stack
async def test_the_broker_runs_on_its_own_java_whatever_the_machine_has(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, taken = tmp_path / "jdk", tmp_path / "another-java-was-taken"
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\ntouch '{taken}'\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", f"{java.parent}{os.pathsep}{os.environ['PATH']}")
    port = free_port()
    broker = Broker(tmp_path / "kafka", StackSettings().cache_dir, port, free_port(), heap_mb=256)
    kafka = Supervised(ServiceSpec("kafka", broker.prepare(), partial(listens, port), tmp_path / "kafka.log"))
    await kafka.start()
    try:
        assert kafka.state == ServiceState.READY
    finally:
        await kafka.stop()
    assert not taken.exists()


@pytest.mark.stack
def test_a_storage_that_is_not_formatted_in_time_is_one_sentence_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonemeter.stack.kafka.broker.FORMAT_TIMEOUT_S", 0)
    settings = StackSettings()
    broker = Broker(tmp_path / "kafka", settings.cache_dir, 1, 2, heap_mb=256)
    with pytest.raises(
        OperationError, match=rf"^Kafka did not format its storage in {tmp_path}/kafka within"
    ):
        broker.prepare()
    assert list((tmp_path / "kafka").iterdir()) == []
