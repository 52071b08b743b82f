"""The preconditions on a real broker: refused at every start, mended when asked to, noticed while running."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from kafka_access.access import KafkaAccess
from metering.preconditions import SINK_TOPICS, BrokerView, FoundTopic
from metering.topics import ALERTS, ALL, EVENTS, LEDGER
from phonemeter.errors import UserError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.topics import ensure_topics
from sinks import service as sink
from sinks.admin_client import KafkaAdmin
from sinks.errors import SinkError
from sinks.notifier import service as notifier
from sinks.notifier.settings import NotifierSettings
from sinks.preconditions import Preconditions, broker_view, found_topics
from sinks.settings import SinkSettings
from streams import preconditions as streams
from tests.conftest import PARTITIONS, RunningEngine, RunningKafka
from tests.phonemeter.cli.test_main import phonemeter
from tests.streams.worker_process import WorkerProcess
from tests.waiting import WITHIN_S, blocking_until

KEEPS_ITS_TIME = "Records that it has keep the time that their producer gave them, and are metered with that."
IS_GONE = "What was deleted before is gone: `phonemeter audit` says whether the log is whole."


def configure(bootstrap: str, topic: str, **config: str) -> None:
    """Set some of a topic's configuration, and wait until the broker says so."""
    wanted = {name.replace("_", "."): value for name, value in config.items()}
    with admin(KafkaAccess(bootstrap)) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
    blocking_until(
        lambda: wanted.items() <= (broker_view(KafkaAccess(bootstrap)).topics[topic].config or {}).items()
    )


def config_of(bootstrap: str, topic: str) -> Mapping[str, str]:
    return broker_view(KafkaAccess(bootstrap)).topics[topic].config or {}


def test_both_clients_find_the_same(topics: RunningKafka) -> None:
    seen = broker_view(KafkaAccess(topics.bootstrap))
    assert seen == streams.ask(KafkaAccess(topics.bootstrap))
    assert seen.cluster
    found = seen.topics
    assert found.keys() == {topic.name for topic in ALL}
    assert {(one.partitions, one.replicas) for one in found.values()} == {(PARTITIONS, 1)}


def test_both_clients_find_that_a_topic_is_missing(topics: RunningKafka) -> None:
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_topics([ALERTS])
        blocking_until(lambda: ALERTS not in client.list_topics())
    found = broker_view(KafkaAccess(topics.bootstrap)).topics
    assert found.keys() == streams.ask(KafkaAccess(topics.bootstrap)).topics.keys()
    assert ALERTS not in found


def test_topics_are_created_so_that_no_replica_takes_back_what_was_acknowledged(topics: RunningKafka) -> None:
    with admin(KafkaAccess(topics.bootstrap)) as client:
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in ALL]
        set_here = client.describe_configs(asked, config_filter="modified")["topic"]
    for topic in ALL:
        assert set_here[topic.name]["unclean.leader.election.enable"]["value"] == "false"


def test_a_topic_is_mended_when_that_is_asked_for_and_keeps_the_rest(topics: RunningKafka) -> None:
    configure(topics.bootstrap, EVENTS, message_timestamp_type="CreateTime", compression_type="zstd")
    configure(topics.bootstrap, LEDGER, retention_ms="604800000")
    with pytest.raises(UserError, match=r"CreateTime .* `phonemeter topics --fix` .* retention.ms=604800000"):
        ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)
    done = ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS, fix=True)
    assert done.changed == [
        f"Topic phone-events: message.timestamp.type was CreateTime and is LogAppendTime. {KEEPS_ITS_TIME}",
        f"Topic phone-ledger: retention.ms was 604800000 and is -1. {IS_GONE}",
    ]
    assert config_of(topics.bootstrap, EVENTS)["message.timestamp.type"] == "LogAppendTime"
    assert config_of(topics.bootstrap, EVENTS)["compression.type"] == "zstd"
    assert ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS).changed == []


def test_where_there_are_three_replicas_two_have_to_acknowledge(
    topics: RunningKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests' one broker keeps one replica, and is told to have three; what is set of it is real."""

    def with_three_replicas(client: KafkaAdmin) -> dict[str, FoundTopic]:
        return {name: replace(found, replicas=3) for name, found in found_topics(client).items()}

    monkeypatch.setattr("phonemeter.stack.kafka.topics.found_topics", with_three_replicas)
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_topics([EVENTS])
        blocking_until(lambda: EVENTS not in client.list_topics())
    told = ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS).advice
    (advice,) = [one for one in told if one.startswith(f"Topic {LEDGER} ")]
    assert "has min.insync.replicas=1, and with 3 replicas it could be 2" in advice
    assert config_of(topics.bootstrap, EVENTS)["min.insync.replicas"] == "2"
    assert config_of(topics.bootstrap, LEDGER)["min.insync.replicas"] == "1"

    done = ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS, fix=True)
    assert f"Topic {LEDGER}: min.insync.replicas was 1 and is 2." in done.changed
    assert config_of(topics.bootstrap, LEDGER)["min.insync.replicas"] == "2"


def test_the_command_mends_and_says_what(topics: RunningKafka, stack_settings: Settings) -> None:
    configure(topics.bootstrap, EVENTS, message_timestamp_type="CreateTime")
    environ = stack_settings.replaced(kafka=topics.bootstrap).to_environ()
    refused = phonemeter("topics", cwd=Path.cwd(), **environ)
    assert refused.returncode == 2
    assert "needs LogAppendTime" in refused.stderr
    mended = phonemeter("topics", "--fix", cwd=Path.cwd(), **environ)
    assert mended.returncode == 0
    assert "message.timestamp.type was CreateTime and is LogAppendTime" in mended.stdout


def test_a_worker_does_not_start_on_a_producers_clock(
    topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    configure(topics.bootstrap, EVENTS, message_timestamp_type="CreateTime")
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        assert worker.process.wait(timeout=WITHIN_S) == 2
    assert "the worker stops: Topic phone-events has message.timestamp.type=CreateTime" in worker.log
    assert "Traceback" not in worker.log


def test_a_sink_and_a_notifier_do_not_start_on_a_topic_that_forgets(
    topics: RunningKafka, engine: RunningEngine, free_port: Callable[[], int]
) -> None:
    for topic in (LEDGER, ALERTS):
        configure(topics.bootstrap, topic, cleanup_policy="compact")
    of_sink = SinkSettings(
        kafka=topics.bootstrap, clickhouse=engine.url("refused"), sink_metrics_port=free_port()
    )
    with pytest.raises(SinkError, match=r"phone-ledger has cleanup.policy=compact and needs delete"):
        sink.run(of_sink, stop=threading.Event())
    of_notifier = NotifierSettings(kafka=topics.bootstrap, notifier_port=free_port())
    with pytest.raises(SinkError, match=r"phone-alerts has cleanup.policy=compact and needs delete"):
        notifier.run(of_notifier, stop=threading.Event())


def test_a_change_is_noticed_while_a_service_runs(topics: RunningKafka) -> None:
    preconditions = Preconditions(SINK_TOPICS, lambda: broker_view(KafkaAccess(topics.bootstrap)))
    preconditions.require()

    def broken() -> list[str]:
        return [one.setting for one in preconditions.breaches]

    assert broken() == []
    with preconditions.watched(every_s=0.05):
        configure(topics.bootstrap, LEDGER, retention_ms="604800000")
        blocking_until(lambda: broken() == ["retention.ms"])


async def test_the_worker_waits_for_a_kafka_that_is_not_up_yet_and_says_so(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "TIMEOUT_S", 0.2)
    nobody = f"127.0.0.1:{free_port()}"

    def look() -> BrokerView:
        return BrokerView({}, "up now") if waiting.waiting else streams.ask(KafkaAccess(nobody))

    waiting = streams.Preconditions(look)
    await waiting.on_start()
    assert waiting.checked
    assert waiting.cluster == "up now"
