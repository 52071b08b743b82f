"""Topics that are changed under a running worker: it stops, and says in one sentence why."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kafka_access.access import KafkaAccess
from metering import topics as names
from metering.ledger import CALL_KINDS
from phonemeter.errors import UserError
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import ensure_topics
from sinks.migrations import migrate
from tests.conftest import PARTITIONS, RunningEngine, RunningKafka
from tests.phonemeter.cli.calling import called
from tests.phonemeter.cli.test_replay import LINES, LOG, publish
from tests.streams.building import APPS, tap
from tests.streams.worker_process import WorkerProcess, ledger
from tests.waiting import WITHIN_S, blocking_until


@pytest.fixture
def worker(topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[WorkerProcess]:
    """A worker that has metered a log."""
    publish(topics.bootstrap, LOG)
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        blocking_until(lambda: len(ledger(topics.bootstrap)) == LINES)
        yield worker


def last_words(worker: WorkerProcess) -> str:
    """The reason of its stop; one line of the log."""
    assert worker.process.wait(timeout=WITHIN_S) != 0
    return worker.log.partition("the worker stops: ")[2].partition("\n")[0]


def test_an_events_topic_that_is_made_anew_stops_the_worker(
    topics: RunningKafka, worker: WorkerProcess
) -> None:
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_topics([names.EVENTS])
        blocking_until(lambda: names.EVENTS not in client.list_topics())
    ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)
    publish(topics.bootstrap, [tap(100)])
    assert "the topic was recreated" in last_words(worker)
    assert len(ledger(topics.bootstrap)) == LINES


def test_more_partitions_stop_the_worker_and_are_refused_at_every_start(
    topics: RunningKafka, worker: WorkerProcess
) -> None:
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.create_partitions({names.EVENTS: 2 * PARTITIONS})
    publish(topics.bootstrap, [tap(100 + number) for number in range(5)])
    assert "phone-events has 8 partitions, but phone-state has 4" in last_words(worker)
    assert len(ledger(topics.bootstrap)) == LINES
    for setting in (PARTITIONS, 2 * PARTITIONS):
        with pytest.raises(
            UserError, match=r"different numbers of partitions \(phone-events 8, phone-ledger 4"
        ):
            ensure_topics(KafkaAccess(topics.bootstrap), setting)


def test_more_partitions_of_all_topics_together_are_refused_as_well(
    topics: RunningKafka, worker: WorkerProcess
) -> None:
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.create_partitions({topic.name: 2 * PARTITIONS for topic in names.ALL})
    publish(topics.bootstrap, [tap(100 + number) for number in range(5)])
    assert "phone-events has 8 partitions, but the state was written when it had 4" in last_words(worker)
    assert len(ledger(topics.bootstrap)) == LINES


def test_a_topic_that_was_made_anew_and_filled_beyond_is_refused_until_a_replay_meters_it(
    topics: RunningKafka,
    worker: WorkerProcess,
    engine: RunningEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert worker.terminate() == 0
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_topics([names.EVENTS])
        blocking_until(lambda: names.EVENTS not in client.list_topics())
    ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)
    taps = [tap(1_000 + number, APPS[number % 3]) for number in range(100)]
    publish(topics.bootstrap, taps)
    worker.restart()
    told = last_words(worker)
    assert "the topic was recreated" in told
    assert "`phonemeter replay --confirm --new-ledger`" in told
    assert len(ledger(topics.bootstrap)) == LINES

    url = engine.url("made_anew")
    migrate(url)
    done = called(
        monkeypatch,
        capsys,
        tmp_path,
        topics.bootstrap,
        "replay",
        "--confirm",
        "--new-ledger",
        PHONEMETER_CLICKHOUSE=url,
    )
    assert done.returncode == 0, done.stderr
    worker.restart()
    blocking_until(lambda: _calls(topics.bootstrap) == {f"tap-{1_000 + number}" for number in range(100)})


def _calls(kafka: str) -> set[str]:
    return {entry.event_id for entry in ledger(kafka).values() if entry.kind in CALL_KINDS}
