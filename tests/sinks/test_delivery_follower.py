"""Delivery states in ClickHouse, whichever process dies: real broker, engine, sink and notifier."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dashboards.views import statements
from kafka_access.access import KafkaAccess
from metering.ledger import Entry
from metering.topics import DELIVERIES
from phonemeter.cli.alerts_log import write
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import ensure_topics
from sinks.delivery_follower import follow_deliveries
from sinks.metrics import Metrics
from sinks.migrations import migrate
from sinks.notifier.records import Acknowledgement, DeliveryRequest, encode, key_of, partition_of
from tests.conftest import PARTITIONS, RunningKafka
from tests.sinks.notifier.parts import (
    APP,
    Answer,
    Receiver,
    alert,
    notifier_thread,
    publish,
    webhook_routes,
)
from tests.sinks.parts import START_MS, EngineProcess, Publisher, SinkProcess
from tests.transactions import transaction
from tests.waiting import blocking_until

ANOTHER = """
INSERT INTO delivery_states (appid, alert_id, route, state, log_partition, log_offset)
VALUES ('wx-of-before', '0-9-0', 'hook', 'dead', {partition}, 1000000)
"""


ANOTHER_RECORD = """
INSERT INTO delivery_states
    (appid, alert_id, route, state, log_partition, log_offset, log_topic, log_fingerprint)
SELECT 'wx-of-before', '0-9-0', 'hook', 'dead', {partition}, 2, any(log_topic), 7 FROM delivery_states
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(lambda _request: Answer(500)) as running:
        yield running


def stands(engine: EngineProcess) -> dict[str, str]:
    return dict(engine.query("SELECT alert_id, state FROM deliveries"))


def attempts(receiver: Receiver, offset: int) -> int:
    """Number of attempts at an alert; on a busy machine more than one is due before the first is stored."""
    return [request.id for request in receiver.requests].count(f"alert_0-{offset}-0_hook")


def test_what_became_of_each_alert_can_be_asked_for_after_a_kill_and_after_a_loss(
    topics: RunningKafka,
    own_engine: EngineProcess,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_port: Callable[[], int],
) -> None:
    migrate(own_engine.url)
    for view in statements():
        own_engine.query(view)
    hook = partition_of("hook", PARTITIONS)
    # Left by a topic that was deleted.
    own_engine.query(ANOTHER.format(partition=hook))
    routes = webhook_routes(tmp_path / "routes.toml", receiver.url)
    sink = SinkProcess(topics.bootstrap, own_engine.url, free_port(), tmp_path / "sink.log")
    line: dict[str, Any] = {"appid": APP, "capability": "quick", "reason": "level"}
    with (
        notifier_thread(monkeypatch, topics.bootstrap, routes, free_port(), notifier_retry_first_ms="3000"),
        sink,
    ):
        with Publisher(topics.bootstrap) as publisher:
            publisher.publish(0, [Entry(1, 0, "alert", START_MS, START_MS, **line)])
        publish(topics.bootstrap, [alert(1), alert(2, appid="wxother")])
        blocking_until(lambda: stands(own_engine) == {"0-1-0": "waiting", "0-2-0": "waiting"})
        sink.kill()
        receiver.answer = lambda _request: Answer()
        write(
            KafkaAccess(topics.bootstrap),
            [(hook, Acknowledgement(at_ms=START_MS, alert="0-2-0", by="Li Lei"))],
        )
        sink.start()
        after = {"0-1-0": "delivered", "0-2-0": "acknowledged"}
        blocking_until(lambda: stands(own_engine) == after)
        columns = "capability, reason, route, channel, attempts, outcome, delivered_at IS NOT NULL"
        asked = f"SELECT {columns} FROM deliveries WHERE appid = '{APP}'"  # noqa: S608 - our own names
        expected = [("quick", "level", "hook", "webhook", attempts(receiver, 1), "answered 204", 1)]
        # After the ledger entry, whose group waits for the dead member first.
        blocking_until(lambda: own_engine.query(asked) == expected)
        assert own_engine.query(
            "SELECT appid, attempts, acknowledged_by, toUnixTimestamp64Milli(acknowledged_at) "
            "FROM deliveries WHERE state = 'acknowledged'"
        ) == [("wxother", attempts(receiver, 2), "Li Lei", START_MS)]
        # A disk was replaced: the loss is noticed with the next row, and everything is read again.
        own_engine.query("TRUNCATE TABLE delivery_states")
        publish(topics.bootstrap, [alert(3)])
        blocking_until(lambda: stands(own_engine) == {**after, "0-3-0": "delivered"})
        assert sink.terminate()[0] == 0


def ask(bootstrap: str, *offsets: int) -> None:
    """Note of alerts that they are to go to the hook."""
    write(
        KafkaAccess(bootstrap),
        [
            (
                partition_of("hook", PARTITIONS),
                DeliveryRequest(
                    at_ms=START_MS, alert=alert(offset), route="hook", due_ms=START_MS, held=False
                ),
            )
            for offset in offsets
        ],
    )


def make_anew(bootstrap: str) -> None:
    with admin(KafkaAccess(bootstrap)) as client:
        client.delete_topics([DELIVERIES])
        blocking_until(lambda: DELIVERIES not in client.list_topics())
    ensure_topics(KafkaAccess(bootstrap), PARTITIONS)


@contextmanager
def following(bootstrap: str, engine: EngineProcess) -> Iterator[None]:
    with follow_deliveries(
        KafkaAccess(bootstrap), engine.url, Metrics(), threading.Event(), lambda: migrate(engine.url)
    ):
        yield


def waiting(*offsets: int) -> dict[str, str]:
    return {f"0-{offset}-0": "waiting" for offset in offsets}


def test_another_log_is_reported_though_it_is_longer_than_the_one_that_was_read(
    topics: RunningKafka, own_engine: EngineProcess
) -> None:
    migrate(own_engine.url)
    for view in statements():
        own_engine.query(view)
    ask(topics.bootstrap, 1, 2)
    with following(topics.bootstrap, own_engine):
        blocking_until(lambda: stands(own_engine) == waiting(1, 2))
        # Recreated while it is read.
        make_anew(topics.bootstrap)
        ask(topics.bootstrap, 11, 12, 13)
        blocking_until(lambda: stands(own_engine) == waiting(11, 12, 13))
    # Recreated while nobody reads it.
    make_anew(topics.bootstrap)
    ask(topics.bootstrap, 21, 22)
    with following(topics.bootstrap, own_engine):
        blocking_until(lambda: stands(own_engine) == waiting(21, 22))
    # The end was lost and written again: the third record is another one than the table has.
    ask(topics.bootstrap, 23, 24)
    own_engine.query(ANOTHER_RECORD.format(partition=partition_of("hook", PARTITIONS)))
    with following(topics.bootstrap, own_engine):
        blocking_until(lambda: stands(own_engine) == waiting(21, 22, 23, 24))


def test_what_was_aborted_in_the_log_of_deliveries_is_not_stored(
    topics: RunningKafka, own_engine: EngineProcess
) -> None:
    migrate(own_engine.url)
    for view in statements():
        own_engine.query(view)
    at = partition_of("hook", PARTITIONS)
    aborted = DeliveryRequest(at_ms=START_MS, alert=alert(1), route="hook", due_ms=START_MS, held=False)
    transaction(topics.bootstrap, DELIVERIES, [encode(aborted)], "abort", key=key_of(aborted), partition=at)
    ask(topics.bootstrap, 2)
    with following(topics.bootstrap, own_engine):
        blocking_until(lambda: "0-2-0" in stands(own_engine))
    assert stands(own_engine) == waiting(2)
