"""`phone-alerts` when it is not the log that the notifier read: made anew, or without its end or its head."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from kafka_access.access import KafkaAccess
from metering.log_identity import Mark
from metering.topics import ALERTS, NOTIFIER_GROUP
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import ensure_topics
from sinks.kafka_consumer import decode_metadata, encode_metadata
from sinks.notifier.kafka_log import NOTED, AlertsSource, AlertsStart, FetchedRecord
from tests.conftest import PARTITIONS, RunningKafka
from tests.served import scraped
from tests.sinks.notifier.parts import Receiver, alert, notifier_thread, publish, webhook_routes
from tests.waiting import blocking_until

AT = TopicPartition(ALERTS, 0)
FIRST_LOG = (101, 102, 103)
"""Offsets of the events behind the alerts of the first log; those of the second log are lower."""


@dataclass
class RestartableNotifier:
    """The notifier, to be started again and again, and the alerts that it has sent."""

    kafka: str
    receiver: Receiver
    routes: Path
    monkeypatch: pytest.MonkeyPatch
    free_port: Callable[[], int]
    port: int = 0

    def running(self) -> Any:  # noqa: ANN401 - a context manager of pytest's kind
        self.port = self.free_port()
        return notifier_thread(self.monkeypatch, self.kafka, self.routes, self.port)

    def publish(self, *offsets: int) -> None:
        publish(self.kafka, [alert(offset) for offset in offsets])

    def expect(self, *offsets: int) -> None:
        """Wait until all of these alerts, and no others, were sent, and that is committed."""
        wanted = sorted(f"0-{offset}-0" for offset in offsets)
        blocking_until(lambda: sorted(self.receiver.alert_ids()) == wanted, what=f"{wanted} were sent")
        blocking_until(lambda: scraped(self.port).get("phonemeter_notifier_open") == 0, what="noted")

    def count_alerts(self, outcome: str) -> float:
        return scraped(self.port).get(f'phonemeter_notifier_alerts_total{{outcome="{outcome}"}}', 0)


@pytest.fixture
def notifier(
    topics: RunningKafka,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_port: Callable[[], int],
) -> RestartableNotifier:
    routes = webhook_routes(tmp_path / "routes.toml", receiver.url)
    return RestartableNotifier(topics.bootstrap, receiver, routes, monkeypatch, free_port)


def committed(kafka: str) -> OffsetAndMetadata:
    with admin(KafkaAccess(kafka)) as client:
        return client.list_group_offsets({NOTIFIER_GROUP: [AT]})[NOTIFIER_GROUP][AT]


def commit(kafka: str, offset: int, mark: Mark) -> None:
    """Commit another offset, with the position among the alerts that the group has."""
    position = decode_metadata(NOTED, committed(kafka).metadata).position
    put(kafka, OffsetAndMetadata(offset, encode_metadata(NOTED, position, mark), -1))


def put(kafka: str, commit: OffsetAndMetadata) -> None:
    with admin(KafkaAccess(kafka)) as client:
        client.alter_group_offsets(NOTIFIER_GROUP, {AT: commit})


def mark_of(kafka: str) -> Mark:
    return decode_metadata(NOTED, committed(kafka).metadata).mark


def make_anew(kafka: str) -> None:
    with admin(KafkaAccess(kafka)) as client:
        client.delete_topics([ALERTS])
        blocking_until(lambda: ALERTS not in client.list_topics())
    ensure_topics(KafkaAccess(kafka), PARTITIONS)


def test_alerts_of_a_topic_that_was_made_anew_while_the_notifier_was_stopped_are_all_sent(
    notifier: RestartableNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    """The group's commit outlives the topic, as when it is restored from a copy."""
    with notifier.running():
        notifier.publish(*FIRST_LOG)
        notifier.expect(*FIRST_LOG)
    before = committed(notifier.kafka)
    make_anew(notifier.kafka)
    put(notifier.kafka, before)
    notifier.publish(1, 2, 3, 4)
    with notifier.running():
        notifier.expect(*FIRST_LOG, 1, 2, 3, 4)
    assert (
        "Partition 0 of phone-alerts is not the log that was read before: the topic was recreated"
        in caplog.text
    )


def test_alerts_of_a_topic_that_was_made_anew_under_the_notifier_are_all_sent(
    notifier: RestartableNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notifier is paused after it has begun: its next read is at the old offset in the new topic."""
    with notifier.running():
        notifier.publish(*FIRST_LOG)
        notifier.expect(*FIRST_LOG)
        mark = mark_of(notifier.kafka)
    has_begun, goes_on = threading.Event(), threading.Event()
    goes_on.set()
    begin, poll = AlertsSource.begin_alerts, AlertsSource.poll

    def begin_and_pause(source: AlertsSource, partition: int) -> AlertsStart:
        start = begin(source, partition)
        if partition == AT.partition and not has_begun.is_set():
            goes_on.clear()
            has_begun.set()
        return start

    def poll_after_pause(source: AlertsSource, pause_s: float) -> list[FetchedRecord]:
        goes_on.wait()
        return poll(source, pause_s)

    monkeypatch.setattr(AlertsSource, "begin_alerts", begin_and_pause)
    monkeypatch.setattr(AlertsSource, "poll", poll_after_pause)
    with notifier.running():
        blocking_until(has_begun.is_set)
        make_anew(notifier.kafka)
        notifier.publish(1, 2, 3, 4)
        goes_on.set()
        notifier.expect(*FIRST_LOG, 1, 2, 3, 4)
        blocking_until(lambda: mark_of(notifier.kafka).topic_id not in {"", mark.topic_id})


def test_where_the_end_was_lost_the_log_is_read_again_and_no_alert_is_requested_twice(
    notifier: RestartableNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    """As after an unclean election, with fewer records than were read, and with others in their place."""
    with notifier.running():
        notifier.publish(*FIRST_LOG)
        notifier.expect(*FIRST_LOG)
    mark = mark_of(notifier.kafka)
    commit(notifier.kafka, 9, Mark(mark.topic_id, 8, 7, mark.leader_epoch))
    notifier.publish(104)
    with notifier.running():
        notifier.expect(*FIRST_LOG, 104)
        assert notifier.count_alerts("repeated") == 3
    assert "it ends at offset 4, but was read up to 9" in caplog.text
    caplog.clear()
    commit(notifier.kafka, 4, Mark(mark.topic_id, 3, 7, mark.leader_epoch))
    notifier.publish(105)
    with notifier.running():
        notifier.expect(*FIRST_LOG, 104, 105)
        assert notifier.count_alerts("repeated") == 4
    assert "at offset 3 it has another record than was read there" in caplog.text


@pytest.mark.parametrize("has_mark", [True, False], ids=["commit of today", "commit of an older version"])
def test_where_the_head_was_deleted_the_rest_is_sent_and_the_loss_is_logged(
    notifier: RestartableNotifier, caplog: pytest.LogCaptureFixture, *, has_mark: bool
) -> None:
    with notifier.running():
        notifier.publish(*FIRST_LOG)
        notifier.expect(*FIRST_LOG)
    if not has_mark:
        commit(notifier.kafka, 3, Mark())
    # A worker that was killed publishes an alert again.
    notifier.publish(104, 103, 105)
    with admin(KafkaAccess(notifier.kafka)) as client:
        client.delete_records({AT: 4})
    with notifier.running():
        notifier.expect(*FIRST_LOG, 105)
        assert notifier.count_alerts("repeated") == 1
    assert "it begins at offset 4, but 3 is next: what was not read yet was deleted" in caplog.text
