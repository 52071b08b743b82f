"""What became of alerts arrives in ClickHouse, whatever dies: real broker, engine, sink and notifier."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.views import statements
from metering.ledger import Entry
from phonemeter.cli.alerts_log import write
from sinks.migrations import migrate
from sinks.notifier.records import Acknowledged, partition_of
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
from tests.waiting import blocking_until

pytestmark = pytest.mark.stack

ANOTHER = """
INSERT INTO delivery_states (appid, alert_id, route, state, log_partition, log_offset)
VALUES ('wx-of-before', '0-9-0', 'hook', 'dead', {partition}, 1000000)
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(lambda _request: Answer(500)) as running:
        yield running


def stands(engine: EngineProcess) -> dict[str, str]:
    return dict(engine.query("SELECT alert_id, state FROM deliveries"))


def attempts(receiver: Receiver, offset: int) -> int:
    """How often an alert was sent: on a busy machine more are due before the first one is seen."""
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
    # Left by a topic that is not there any more.
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
        blocking_until(lambda: stands(own_engine) == {"0-1-0": "waiting", "0-2-0": "waiting"}, within_s=60)
        sink.kill()
        receiver.answer = lambda _request: Answer()
        write(topics.bootstrap, [(hook, Acknowledged(at_ms=START_MS, alert="0-2-0", by="Li Lei"))])
        sink.start()
        after = {"0-1-0": "delivered", "0-2-0": "acknowledged"}
        blocking_until(lambda: stands(own_engine) == after, within_s=60)
        columns = "capability, reason, route, channel, attempts, outcome, delivered_at IS NOT NULL"
        asked = f"SELECT {columns} FROM deliveries WHERE appid = '{APP}'"  # noqa: S608 - our own names
        told = [("quick", "level", "hook", "webhook", attempts(receiver, 1), "answered 204", 1)]
        # Once the ledger's line is there too: its group waits for the dead member first.
        blocking_until(lambda: own_engine.query(asked) == told, within_s=60)
        assert own_engine.query(
            "SELECT appid, attempts, acknowledged_by, toUnixTimestamp64Milli(acknowledged_at) "
            "FROM deliveries WHERE state = 'acknowledged'"
        ) == [("wxother", attempts(receiver, 2), "Li Lei", START_MS)]
        # A disk that was replaced: what is lost is noticed when the next row comes, and read again.
        own_engine.query("TRUNCATE TABLE delivery_states")
        publish(topics.bootstrap, [alert(3)])
        blocking_until(lambda: stands(own_engine) == {**after, "0-3-0": "delivered"}, within_s=60)
        assert sink.terminate()[0] == 0
