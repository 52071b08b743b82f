"""A year of fifty apps in under a minute: every alert that the rules ask for reaches a webhook, once.

What has to be told is worked out by the model of the tests, which shares no code with the rules. Worker and
notifier are killed half way. The signatures are checked by code that is not the product's.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import clickhouse_connect
import pytest
from kafka import KafkaConsumer, TopicPartition

from metering.topics import ALERTS
from phonemeter.settings import Settings
from phonemeter.stack.services import ServiceName
from phonemeter.stack.stack import Stack
from tests.alert_year import TRIAL_CALLS, year
from tests.metering.alert_model import Alert, AlertModel
from tests.metering.model import ms
from tests.real_parts import starts_real_parts
from tests.sinks.notifier.parts import SECRET, SECRET_VARIABLE, Receiver, has_signature, webhook_routes
from tests.waiting import blocking_until

SERVICES: tuple[ServiceName, ...] = ("kafka", "engine", "worker", "sink", "notifier")
"""Without the settler: the year has late facts, and the model decides in the order of arrival."""
VICTIMS: tuple[ServiceName, ...] = ("worker", "notifier")
ARRIVAL_S = 120
"""On a busy machine; a free one takes a fraction of it."""


class Parts(NamedTuple):
    """The stack of this test, and where its webhooks arrive."""

    stack: Stack
    receiver: Receiver


@pytest.fixture
@starts_real_parts
def parts(
    stack_settings: Settings,
    free_port: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Parts]:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    with Receiver() as receiver:
        settings = stack_settings.replaced(
            clock="events",
            trial_calls=TRIAL_CALLS,
            alert_routes=webhook_routes(tmp_path / "routes.toml", receiver.url),
            notifier_port=free_port(),
            # The year is past, and here that must keep nobody from being told.
            notifier_past_max_s=315_360_000,
        )
        with Stack(settings, only=SERVICES) as stack:
            yield Parts(stack, receiver)


def test_every_alert_of_a_year_of_fifty_apps_arrives_once_although_worker_and_notifier_are_killed(
    parts: Parts, tmp_path: Path
) -> None:
    stack, receiver = parts
    events = year(seed=20261122)
    wanted = Counter(alerts_of_model(events))
    assert max(wanted.values()) == 1

    half = len(events) // 2
    emit(stack, tmp_path / "first.jsonl", events[:half])
    blocking_until(lambda: len(receiver.requests) > 20, ARRIVAL_S)
    pids = {name: stack.pid(name) for name in VICTIMS}
    for pid in pids.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    emit(stack, tmp_path / "second.jsonl", events[half:])

    blocking_until(lambda: len({request.id for request in list(receiver.requests)}) >= len(wanted), ARRIVAL_S)
    assert all(stack.pid(name) not in {None, pid} for name, pid in pids.items())

    published = on_the_topic(stack)
    assert Counter(published.values()) == wanted
    assert Counter(at_the_receiver(receiver)) == wanted
    blocking_until(partial(is_in_clickhouse, stack, wanted), ARRIVAL_S)
    delivered = [(identity, "hook", "delivered") for identity in sorted(published)]
    blocking_until(lambda: deliveries_in_clickhouse(stack) == delivered, ARRIVAL_S)


def alerts_of_model(events: list[bytes]) -> list[Alert]:
    model = AlertModel(
        billing_start_ms=ms("2023-08-26T00:00:00+08:00"),
        trial_calls=TRIAL_CALLS,
        trial_scope="account",
        allowed_lateness_ms=86_400_000,
        duplicate_window_ms=400 * 86_400_000,
    )
    model.read_all(events)
    return model.finish()


def emit(stack: Stack, file: Path, events: list[bytes]) -> None:
    file.write_bytes(b"\n".join(events))
    done = subprocess.run(
        [sys.executable, "-m", "phonemeter", "emit", file],
        env={**os.environ, **stack.settings.to_environ()},
        capture_output=True,
        text=True,
        check=False,
        timeout=ARRIVAL_S,
    )
    assert done.returncode == 0, done.stderr


def alert_of(told: dict[str, Any]) -> Alert:
    """An alert as its JSON has it."""
    return Alert(
        told["appid"],
        told["capability"],
        told["kind"],
        told["reason"],
        ms(told["time"]),
        told["remaining"],
        told["pack_id"],
        tuple(sorted(told["details"].items())),
    )


def on_the_topic(stack: Stack) -> dict[str, Alert]:
    """The alerts of phone-alerts by id; what a killed worker published again is the same again."""
    found: dict[str, bytes] = {}
    consumer = KafkaConsumer(bootstrap_servers=stack.settings.kafka, consumer_timeout_ms=5_000)
    try:
        partitions = [TopicPartition(ALERTS, number) for number in range(stack.settings.partitions)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for records in consumer.poll(timeout_ms=1_000).values():
                for record in records:
                    identity = json.loads(record.value)["id"]
                    assert found.setdefault(identity, record.value) == record.value
    finally:
        consumer.close()
    return {identity: alert_of(json.loads(value)) for identity, value in found.items()}


def at_the_receiver(receiver: Receiver) -> list[Alert]:
    """One alert per delivery; an attempt under way at the kill may have been repeated."""
    assert all(has_signature(request, SECRET) for request in receiver.requests)
    bodies: dict[str, bytes] = {}
    for request in receiver.requests:
        assert bodies.setdefault(request.id, request.body) == request.body
    told = [json.loads(body)["data"] for body in bodies.values()]
    assert len({alert["id"] for alert in told}) == len(told)
    assert len(receiver.requests) - len(bodies) < 20, "only attempts under way are repeated"
    return [alert_of(alert) for alert in told]


def deliveries_in_clickhouse(stack: Stack) -> list[tuple[Any, ...]]:
    """The final state of each alert on each route, as analysts see it."""
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=stack.settings.engine_http_port, database="phonemeter"
    )
    with client:
        rows = client.query("SELECT alert_id, route, state FROM deliveries ORDER BY alert_id").result_rows
    return [tuple(row) for row in rows]


def is_in_clickhouse(stack: Stack, wanted: Counter[Alert]) -> bool:
    """Return true if the view of alerts holds exactly these."""
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=stack.settings.engine_http_port, database="phonemeter"
    )
    with client:
        rows = client.query(
            "SELECT appid, capability, if(recovered, 'recovery', 'alert'), reason, "
            "toUnixTimestamp64Milli(time), remaining, pack_id, details FROM alerts"
        ).result_rows
    found = Counter(Alert._make((*row[:-1], tuple(sorted(json.loads(row[-1]).items())))) for row in rows)
    assert found <= wanted
    return found == wanted
