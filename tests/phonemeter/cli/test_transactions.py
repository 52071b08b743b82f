"""Aborted records of others in topics that phonemeter writes are neither sent nor listed. Real broker."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from metering import dead_letters
from metering.alerts import Alert
from metering.topics import ALERTS, DEAD_LETTERS, DELIVERIES
from sinks.notifier.records import Acknowledgement, encode, key_of, partition_of
from tests.conftest import PARTITIONS, RunningKafka
from tests.phonemeter.cli.calling import Done, called
from tests.phonemeter.dead_letters.letters import encoded, letter, tap
from tests.served import scraped
from tests.sinks.notifier.parts import (
    SECRET,
    SECRET_VARIABLE,
    Receiver,
    alert,
    notifier_thread,
    publish,
    webhook_routes,
)
from tests.transactions import transaction
from tests.waiting import blocking_until

Run = Callable[..., Done]


@pytest.fixture
def run(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`phonemeter ...` on the session's broker, in this process."""
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    return partial(called, monkeypatch, capsys, tmp_path, topics.bootstrap)


def written(one: Alert) -> bytes:
    return msgspec.json.encode(one)


def test_an_alert_that_was_aborted_is_neither_sent_nor_listed(
    topics: RunningKafka,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_port: Callable[[], int],
) -> None:
    kafka, port = topics.bootstrap, free_port()
    with Receiver() as receiver:
        routes = webhook_routes(tmp_path / "routes.toml", receiver.url)
        transaction(kafka, ALERTS, [written(alert(1))], "abort")
        transaction(kafka, ALERTS, [written(alert(2))], "commit")
        acknowledged = Acknowledgement(at_ms=1, alert="0-2-0", by="nobody")
        transaction(
            kafka,
            DELIVERIES,
            [encode(acknowledged)],
            "abort",
            key=key_of(acknowledged),
            partition=partition_of("hook", PARTITIONS),
        )
        publish(kafka, [alert(3)])
        with notifier_thread(monkeypatch, kafka, routes, port):
            blocking_until(lambda: {"0-2-0", "0-3-0"} <= set(receiver.alert_ids()))
            blocking_until(lambda: scraped(port).get("phonemeter_notifier_open") == 0)
        assert sorted(receiver.alert_ids()) == ["0-2-0", "0-3-0"]
    done = run("alerts", "list", "--json")
    assert done.returncode == 0, done.stderr
    told = {one["id"]: one["deliveries"][0]["state"] for one in json.loads(done.stdout)["alerts"]}
    assert told == {"0-2-0": "delivered", "0-3-0": "delivered"}


def test_a_letter_that_was_aborted_is_not_listed(topics: RunningKafka, run: Run) -> None:
    kept = letter(encoded(tap(capability="slow")))
    gone = msgspec.structs.replace(kept, offset=3)
    transaction(topics.bootstrap, DEAD_LETTERS, [dead_letters.encode(gone)], "abort", partition=2)
    transaction(topics.bootstrap, DEAD_LETTERS, [dead_letters.encode(kept)], "commit", partition=2)
    told = json.loads(run("dead-letters", "list", "--json").stdout)
    assert [one["identity"] for one in told["letters"]] == ["phone-events-2-417"]
    assert "There is no dead letter phone-events-2-3;" in run("dead-letters", "show", "2-3").stderr
