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

from metering.topics import ALL, EVENTS
from phonemeter.errors import OperationError, UserError
from phonemeter.stack.kafka.broker import Broker
from phonemeter.stack.kafka.install import installed_libs
from phonemeter.stack.kafka.topics import admin, ensure_topics
from phonemeter.stack.probes import HOST, listens
from phonemeter.stack.settings import StackSettings
from phonemeter.stack.supervisor import Service, State, Supervised
from tests.conftest import PARTITIONS, RunningKafka
from tests.waiting import blocking_until, until

RECORDS = [f"event {number}".encode() for number in range(500)]


def publish(bootstrap: str) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for record in RECORDS:
        producer.send(EVENTS, record, partition=0)
    producer.flush(timeout=20)
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
    with admin(bootstrap) as client:
        return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics()}


async def test_acknowledged_records_survive_kill_and_stop_of_the_broker(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    bootstrap = f"{HOST}:{port}"
    broker = Broker(tmp_path, StackSettings().cache_dir, port, free_port(), heap_mb=256)
    kafka = Supervised(Service("kafka", broker.prepare(), partial(listens, port), tmp_path / "kafka.log"))
    try:
        await kafka.start()
        await asyncio.to_thread(ensure_topics, bootstrap, PARTITIONS)
        await asyncio.to_thread(publish, bootstrap)

        killed = kafka.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: kafka.pid != killed and kafka.state is State.READY, within_s=40)
        assert await asyncio.to_thread(stored, bootstrap) == RECORDS
        assert kafka.restart_count == 1

        began = time.monotonic()
        await kafka.stop()
        assert time.monotonic() - began < 5
        assert kafka.pid is None

        await kafka.start()
        assert await asyncio.to_thread(stored, bootstrap) == RECORDS
    finally:
        await kafka.stop()


def test_every_topic_is_created_once_with_its_partitions_and_config(topics: RunningKafka) -> None:
    ensure_topics(topics.bootstrap, PARTITIONS)
    assert {name: partitions_of(topics.bootstrap)[name] for name in (topic.name for topic in ALL)} == {
        topic.name: PARTITIONS for topic in ALL
    }


def test_missing_topics_are_added_to_those_that_are_there(topics: RunningKafka) -> None:
    with admin(topics.bootstrap) as client:
        client.delete_topics([EVENTS])
        blocking_until(lambda: EVENTS not in client.list_topics(), within_s=10)
    ensure_topics(topics.bootstrap, PARTITIONS)
    assert partitions_of(topics.bootstrap)[EVENTS] == PARTITIONS


def test_another_partition_count_is_refused_naming_the_setting(topics: RunningKafka) -> None:
    with pytest.raises(UserError, match=r"phone-events has 4 partitions but PHONEMETER_PARTITIONS .* is 8"):
        ensure_topics(topics.bootstrap, PARTITIONS * 2)


def test_a_topic_in_producer_time_is_refused(topics: RunningKafka) -> None:
    timestamp_type = {"message.timestamp.type": "CreateTime"}
    asked = ConfigResource(ConfigResourceType.TOPIC, EVENTS, list(timestamp_type))
    with admin(topics.bootstrap) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EVENTS, timestamp_type)])
        blocking_until(
            lambda: "LogAppendTime" not in str(client.describe_configs([asked], config_filter="all")),
            within_s=10,
        )
    with pytest.raises(
        UserError, match=r"phone-events has message.timestamp.type=CreateTime .* LogAppendTime"
    ):
        ensure_topics(topics.bootstrap, PARTITIONS)


def test_a_broker_that_does_not_answer_is_named_with_its_setting(free_port: Callable[[], int]) -> None:
    port = free_port()
    with (
        pytest.raises(OperationError, match=rf"Kafka at {HOST}:{port} does not answer; .* PHONEMETER_KAFKA"),
        admin(f"{HOST}:{port}"),
    ):
        pass


def test_missing_maven_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install -y maven"):
        installed_libs(tmp_path / "cache")


def test_missing_java_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install -y openjdk-17-jre-headless"):
        Broker(tmp_path, tmp_path, 1, 2, heap_mb=256).prepare()


def test_a_failed_download_leaves_nothing_that_looks_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = tmp_path / "mvn"
    maven.write_text(
        "#!/bin/sh\n"
        'for argument; do case "$argument" in -DoutputDirectory=*) mkdir -p "${argument#*=}";; esac; done\n'
        "echo network unreachable; exit 1\n"
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    cache = tmp_path / "cache"
    with pytest.raises(OperationError, match="network unreachable"):
        installed_libs(cache)
    assert [path.name for path in cache.iterdir()] == ["download.lock"]
