"""The notifier as a process, against the real broker and a receiver on loopback."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from metering.times import DAY_MS, SHANGHAI, to_ms
from tests.conftest import RunningKafka
from tests.served import scraped
from tests.sinks.notifier.parts import (
    Answer,
    NotifierProcess,
    Receiver,
    SetClock,
    alert,
    forget_members,
    notifier_thread,
    publish,
    webhook_routes,
)
from tests.waiting import blocking_until

Make = Callable[..., NotifierProcess]


@pytest.fixture
def notifier(topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int], receiver: Receiver) -> Make:
    """Make a notifier whose one route is the receiver, which answers at once.

    What one had begun when it was killed, the next one begins again after this time, as it has surely ended.
    """
    soon = {"NOTIFIER_TIMEOUT_S": "8"}
    routes = webhook_routes(tmp_path / "routes.toml", receiver.url)

    def make(*die: str) -> NotifierProcess:
        return NotifierProcess(topics.bootstrap, routes, free_port(), tmp_path / "notifier.log", die, soon)

    return make


def test_a_delivery_goes_on_where_the_notifier_was_killed(
    topics: RunningKafka, notifier: Make, receiver: Receiver
) -> None:
    def settle(running: NotifierProcess, offset: int) -> None:
        """Wait until an alert has arrived, and that is recorded."""
        message = f"alert_0-{offset}-0_hook"
        blocking_until(lambda: any(request.id == message for request in receiver.requests))
        blocking_until(lambda: scraped(running.port).get("phonemeter_notifier_open") == 0)

    for offset, boundary in enumerate(("request", "begin", "send", "sent")):
        with notifier(boundary, f"0-{offset}-0") as dying:
            if offset:
                settle(dying, offset - 1)
            publish(topics.bootstrap, [alert(offset)])
            blocking_until(dying.ended)
        forget_members(topics.bootstrap)
    with notifier() as last:
        # This attempt had arrived and that was not recorded: the receiver sees it again, by the same id.
        again = "alert_0-3-0_hook"
        blocking_until(lambda: [one.id for one in receiver.requests].count(again) == 2)
        settle(last, 3)
    assert Counter(receiver.alert_ids()) == {"0-0-0": 1, "0-1-0": 1, "0-2-0": 1, "0-3-0": 2}
    assert len({request.id for request in receiver.requests}) == 4


@pytest.fixture
def routes(tmp_path: Path, receiver: Receiver) -> Path:
    return webhook_routes(tmp_path / "routes.toml", receiver.url)


def test_each_alert_arrives_once_and_old_ones_do_not(
    topics: RunningKafka,
    routes: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    alerts = [alert(offset, partition=offset % 4, line=offset % 3) for offset in range(1, 201)]
    publish(topics.bootstrap, [alert(0, partition=1)], at_ms=1_000_000_000_000)
    with notifier_thread(monkeypatch, topics.bootstrap, routes, port):
        publish(topics.bootstrap, alerts)
        # The worker crashed before it had committed these.
        publish(topics.bootstrap, alerts[100:])
        total = 'phonemeter_notifier_alerts_total{outcome="%s"}'
        blocking_until(lambda: scraped(port).get(total % "repeated") == 100)
        blocking_until(lambda: len(receiver.requests) == 200)
        # A second notifier takes over some partitions, with all that was delivered on them.
        with notifier_thread(monkeypatch, topics.bootstrap, routes, free_port()):
            publish(topics.bootstrap, [alert(600, partition=partition) for partition in range(4)])
            blocking_until(lambda: len(receiver.requests) >= 204)
        delivered = 'phonemeter_notifier_attempts_total{channel="webhook",outcome="delivered"}'
        blocking_until(lambda: scraped(port).get("phonemeter_notifier_open") == 0)
        metrics = scraped(port)
    assert Counter(receiver.alert_ids()).most_common(1)[0][1] == 1
    assert set(receiver.alert_ids()) == {one.id for one in alerts} | {f"{n}-600-0" for n in range(4)}
    assert metrics[total % "too_old"] == 1
    assert 200 <= metrics[delivered] <= 204
    assert metrics["phonemeter_notifier_oldest_waiting_seconds"] == 0


def test_a_failed_delivery_is_repeated_with_the_same_id_and_body(
    topics: RunningKafka,
    routes: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    free_port: Callable[[], int],
) -> None:
    answers = iter([Answer(500), None, Answer(307, {"location": receiver.url}), Answer(503), Answer()])
    receiver.answer = lambda _request: next(answers)
    port = free_port()
    with notifier_thread(monkeypatch, topics.bootstrap, routes, port, notifier_timeout_s="2"):
        publish(topics.bootstrap, [alert(7)])
        blocking_until(lambda: len(receiver.requests) == 5)
    assert {(request.id, request.body) for request in receiver.requests} == {
        ("alert_0-7-0_hook", receiver.requests[0].body)
    }
    assert receiver.alert_ids() == ["0-7-0"] * 5


def test_what_is_held_for_a_digest_arrives_together(
    topics: RunningKafka,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    free_port: Callable[[], int],
) -> None:
    """The day passes when all are held, however long the notifier takes."""
    routes = webhook_routes(
        tmp_path / "routes.toml", receiver.url, more='digest = { every = "day", at = "09:00" }\n'
    )
    noon = datetime.now(SHANGHAI).replace(hour=12, minute=0, second=0, microsecond=0)
    clock = SetClock(to_ms(noon))
    port = free_port()
    with notifier_thread(monkeypatch, topics.bootstrap, routes, port, now_ms=clock):
        publish(topics.bootstrap, [alert(offset, partition=offset % 4) for offset in range(12)])
        blocking_until(lambda: scraped(port).get("phonemeter_notifier_open") == 12)
        assert receiver.requests == []
        clock.set_to(to_ms(noon) + DAY_MS)
        blocking_until(lambda: len(set(receiver.alert_ids())) == 12)
    assert len({request.id for request in receiver.requests}) == 1
    assert {body["type"] for body in receiver.verified()} == {"phone.alerts.digest"}
