"""The view of `status` from outside, on a real broker and a real engine, where no service can tell it."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer as ProducerOfAnyBytes

from metering.health_checks import HealthLimits
from metering.ledger import Entry
from metering.topics import DEAD_LETTERS, EVENTS, LEDGER, SINK_GROUP, WORKER_GROUP
from phonemeter.settings import Settings
from phonemeter.stack.health import StackHealth, examine
from sinks.connection import connect
from sinks.migrations import migrate
from tests.committing import commit_as
from tests.conftest import RunningEngine, RunningKafka
from tests.header_names import Latin1
from tests.waiting import WITHIN_S, blocking_until
from tools.pictures.half_year_engine import create_ledger, store_entries

AT_ONCE = HealthLimits(0.0, 0.0, 0.0)
DATABASE = "health"


@pytest.fixture
def settings(topics: RunningKafka, engine: RunningEngine, stack_settings: Settings) -> Settings:
    """Settings of a Kafka with topics and an engine with a schema, on which no service runs."""
    url = engine.url(DATABASE)
    migrate(url)
    return stack_settings.replaced(kafka=topics.bootstrap, clickhouse=url)


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    producer = Producer({"bootstrap.servers": settings.kafka, "transactional.id": "back-end"})
    producer.init_transactions(WITHIN_S)
    yield producer
    producer.abort_transaction(WITHIN_S)


def publish(settings: Settings, topic: str, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka})
    producer.produce(topic, b"{}", partition=partition)
    assert producer.flush(WITHIN_S) == 0


def beyond_members(health: StackHealth) -> list[str]:
    return [problem for problem in health.problems if not problem.startswith("Nobody reads")]


def test_a_position_beyond_the_end_of_the_log_is_no_negative_lag(settings: Settings) -> None:
    publish(settings, EVENTS)
    commit_as(WORKER_GROUP, settings.kafka, EVENTS, 43)
    health = examine(settings)
    (problem,) = beyond_members(health)
    assert problem.startswith(
        "Partition 0 of phone-events ends at record 1, but was metered up to record 43:"
    )
    assert health.worker is not None
    assert health.worker.lag == 0


def test_what_waits_is_judged_by_its_age(settings: Settings) -> None:
    publish(settings, EVENTS)
    publish(settings, LEDGER, 3)
    assert beyond_members(examine(settings)) == []
    blocking_until(lambda: len(beyond_members(examine(settings, HealthLimits(waited_s=0.2)))) == 2)
    health = examine(settings, HealthLimits(waited_s=0.2))
    assert [problem.partition(" is behind")[0] for problem in beyond_members(health)] == [
        "Partition 0 of phone-events",
        "Partition 3 of phone-ledger",
    ]
    assert health.worker is not None
    assert health.worker.lag == 1
    assert health.worker.waited_s > 0.2


def test_a_record_that_this_client_can_not_read_waits_like_any_other(settings: Settings) -> None:
    client = ProducerOfAnyBytes(bootstrap_servers=settings.kafka)
    client.send(EVENTS, b"{}", headers=[(Latin1("straße"), b"1")], partition=0).get(WITHIN_S)
    client.close()
    health = examine(settings)
    assert beyond_members(health) == []
    assert health.worker is not None
    assert health.worker.lag == 1


def test_an_open_transaction_holds_up_its_partition_until_it_ends(
    settings: Settings, producer: Producer
) -> None:
    producer.begin_transaction()
    producer.produce(EVENTS, b"{}", partition=1)
    producer.flush(WITHIN_S)
    publish(settings, EVENTS, 1)
    began_s = time.monotonic()
    (problem,) = beyond_members(examine(settings, AT_ONCE))
    assert problem.startswith("Partition 1 of phone-events is held up at record 0 by a transaction")
    assert "2 records cannot be read" in problem
    # Nobody could have read them: they are not the worker's.
    assert beyond_members(examine(settings, HealthLimits(0.0, 0.0, 60.0))) == []
    assert time.monotonic() - began_s < 50
    producer.commit_transaction(WITHIN_S)
    blocking_until(lambda: "3 records not metered" in str(examine(settings, AT_ONCE).problems))
    producer.begin_transaction()


def test_lines_that_were_acknowledged_and_are_gone_are_missed(settings: Settings) -> None:
    publish(settings, EVENTS)
    commit_as(SINK_GROUP, settings.kafka, LEDGER, 0, "stored 0 0")
    (problem,) = beyond_members(examine(settings))
    assert problem.startswith(
        "ClickHouse has lost entries of partition 0: it acknowledged them up to record 0"
    )


def test_dead_letters_of_late_are_told_and_are_no_fault_of_ours(settings: Settings) -> None:
    publish(settings, DEAD_LETTERS)
    health = examine(settings)
    assert beyond_members(health) == []
    (notice,) = health.notices
    assert notice.startswith("Records of the last 15 minutes that are no events: 1;")


def test_a_source_that_publishes_into_wrong_partitions_is_named(
    settings: Settings, engine: RunningEngine
) -> None:
    url = engine.url("health_misplaced")
    migrate(url)
    with connect(url) as client:
        client.execute(
            "INSERT INTO ledger (source_partition, source_offset, line, kind, reason, source, time) "
            "SELECT 0, 0, 0, 'rejection', 'wrong_partition', '/kcat', now()"
        )
    told = [one for one in examine(settings.replaced(clickhouse=url)).problems if "/kcat" in one]
    assert len(told) == 1
    assert told[0].startswith("Source '/kcat' publishes into wrong partitions: 1 record refused")


def test_apps_that_stay_unsettled_are_told_where_no_settler_answers(settings: Settings) -> None:
    settings = settings.replaced(clickhouse=settings.clickhouse.replace(DATABASE, "health_unsettled"))
    create_ledger(settings.clickhouse)
    assert examine(settings).unsettled_apps == 0
    marked = Entry(1, 0, "unsettled", 0, 0, "wx1", reason="late_call")
    store_entries(settings.clickhouse, [marked])
    health = examine(settings)
    assert health.unsettled_apps == 1
    (problem,) = [one for one in health.problems if "unsettled" in one]
    assert problem.startswith("Apps that have been unsettled for more than a minute: 1, wx1 for ")
    assert problem.endswith(": no settler answers on this machine.")
