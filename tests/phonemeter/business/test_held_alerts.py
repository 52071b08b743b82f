"""Alerts of owners that are held: while the business database does not answer, and in quiet hours."""

from collections.abc import Callable
from pathlib import Path
from time import time_ns

import pytest
from apprise.plugins.feishu import NotifyFeishu

from dashboards.console.members import Actor
from dashboards.console.recipients import QuietTimes, RecipientTarget, RecipientText
from metering.times import DAY_MS, SHANGHAI, from_ms, to_ms
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.owners import OwnerStore
from phonemeter.business.recipient_routes import RecipientRouteReader
from phonemeter.business.recipients import BusinessRecipients
from tests.conftest import RunningKafka
from tests.served import asked, scraped
from tests.sinks.notifier.parts import (
    APP,
    Answer,
    Receiver,
    SetClock,
    alert,
    mail_server,
    notifier_thread,
    publish,
    webhook_routes,
)
from tests.waiting import blocking_until

AWAITING = "phonemeter_notifier_awaiting_recipients"
EVERYTHING = RecipientText("boss", "zh", ("urgent", "warning", "info"))
TARGET = RecipientTarget("feishu", "5a2c0b1e-1a2b", "abc")

pytestmark = pytest.mark.stack


def owner_of(database: BusinessDatabase) -> Actor:
    """A new owner of the app."""
    owners = OwnerStore(database)
    owners.add("Coffee Ltd", [APP])
    return Actor("li@coffee.example", owners.every_owner()[0].owner_id)


def delivered_sentences(port: int) -> list[str]:
    """The problems that the notifier's health has with deliveries; its answer comes once it has started."""
    _, answer = asked(port, "/healthz")
    return [one["sentence"] for one in answer["problems"] if one["promise"] == "delivered"]


def test_without_the_business_database_the_operators_routes_work_and_owners_get_theirs_later_and_once(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    kafka, ready, place = topics.bootstrap, tmp_path / "ready", tmp_path / "place"
    place.touch()
    with (
        mail_server(free_port()) as mailbox,
        Receiver() as hook,
        BusinessDatabase(f"sqlite:///{ready}/business.sqlite") as prepared,
        BusinessDatabase(f"sqlite:///{place}/business.sqlite") as database,
    ):
        owner = owner_of(prepared)
        recipients = BusinessRecipients(prepared, mailbox.address, 20)
        recipients.add(owner, EVERYTHING, RecipientTarget("email", "li@coffee.example"))
        routes = webhook_routes(tmp_path / "routes.toml", hook.url)
        reader = RecipientRouteReader(database, mailbox.address)
        port = free_port()
        with notifier_thread(monkeypatch, kafka, routes, port, reader):
            publish(kafka, [alert(1, reason="refused"), alert(2, partition=1)])
            blocking_until(lambda: len(hook.requests) == 2, what="the operator has both")
            blocking_until(lambda: scraped(port).get(AWAITING) == 2, what="the owner's are held")
            assert asked(port, "/readyz")[0] == 200
            (sentence,) = delivered_sentences(port)
            assert "alerts are held for them: The business database" in sentence
        # A notifier that starts anew holds them again, and tells the operator nothing twice.
        port = free_port()
        with notifier_thread(monkeypatch, kafka, routes, port, reader):
            publish(kafka, [alert(3)])
            blocking_until(lambda: scraped(port).get(AWAITING) == 3, what="all three are held")
            blocking_until(lambda: len(hook.requests) == 3, what="the operator has the third")
            assert mailbox.mails == []
            place.unlink()
            ready.rename(place)
            blocking_until(lambda: len(mailbox.mails) == 3, what="the owner has all three")
            blocking_until(lambda: scraped(port).get(AWAITING) == 0, what="none is held any more")
            blocking_until(lambda: delivered_sentences(port) == [], what="it is healthy")
            assert scraped(port)['phonemeter_notifier_alerts_total{outcome="routed"}'] == 3
            # When it goes away later, the recipients that are known get what comes.
            place.rename(ready)
            blocking_until(lambda: delivered_sentences(port) != [], what="the database is missed")
            assert "the previous ones are in effect" in delivered_sentences(port)[0]
            publish(kafka, [alert(4, reason="refused")])
            blocking_until(lambda: (len(mailbox.mails), len(hook.requests)) == (4, 4), what="both have it")
            blocking_until(lambda: scraped(port).get("phonemeter_notifier_open") == 0, what="all is recorded")
        assert sorted(hook.alert_ids()) == ["0-1-0", "0-3-0", "0-4-0", "1-2-0"]
        assert len(mailbox.mails) == 4


def tomorrow_at(hour: int, minute: int = 0, second: int = 0) -> int:
    """The UTC milliseconds of a time of tomorrow in Shanghai."""
    tomorrow = from_ms(time_ns() // 1_000_000 + DAY_MS).astimezone(SHANGHAI)
    return to_ms(tomorrow.replace(hour=hour, minute=minute, second=second, microsecond=0))


def test_what_comes_in_quiet_hours_is_one_message_in_the_morning_and_urgent_alerts_pass(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    kafka, clock = topics.bootstrap, SetClock(tomorrow_at(2))
    with (
        Receiver(lambda _request: Answer(200, body=b'{"code":0}')) as robot,
        BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite") as database,
    ):
        monkeypatch.setattr(NotifyFeishu, "notify_url", robot.url)
        owner = owner_of(database)
        recipients = BusinessRecipients(database, "", 20)
        recipients.add(owner, EVERYTHING, TARGET)
        recipients.set_quiet_times(owner, QuietTimes("22:00", "08:00"))
        reader = RecipientRouteReader(database, "")

        def texts() -> list[str]:
            return [one.json["content"]["text"] for one in robot.requests]

        def is_settled(messages: int, held: int) -> bool:
            return (len(robot.requests), scraped(port).get("phonemeter_notifier_open")) == (messages, held)

        port = free_port()
        with notifier_thread(monkeypatch, kafka, None, port, reader, clock):
            publish(kafka, [alert(1), alert(2), alert(3, reason="refused")])
            blocking_until(lambda: is_settled(1, 2), what="the urgent one was sent, two are held")
        assert "0-3-0" in texts()[0]
        # A night is longer than a notifier may run.
        clock.set_to(tomorrow_at(7, 59, 30))
        port = free_port()
        with notifier_thread(monkeypatch, kafka, None, port, reader, clock):
            publish(kafka, [alert(4, reason="refused")])
            blocking_until(lambda: is_settled(2, 2), what="the second urgent one was sent")
            clock.set_to(tomorrow_at(8, 0, 1))
            blocking_until(lambda: is_settled(3, 0), what="the others were sent together")
            publish(kafka, [alert(5)])
            blocking_until(lambda: is_settled(4, 0), what="by day an alert is sent at once")
        urgent, later, morning, day = texts()
        assert ("0-4-0" in later, "0-5-0" in day) == (True, True)
        assert all(one in morning for one in ("0-1-0", "0-2-0")), morning
        assert not any(one in f"{urgent}{later}{day}" for one in ("0-1-0", "0-2-0"))
