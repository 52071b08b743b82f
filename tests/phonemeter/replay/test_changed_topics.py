"""Topics that are changed under a running worker: it stops, and says in one sentence why."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metering import topics as names
from phonemeter.errors import UserError
from phonemeter.stack.kafka.topics import admin, ensure_topics
from tests.conftest import PARTITIONS, RunningKafka
from tests.phonemeter.cli.test_replay import LINES, LOG, publish
from tests.streams.building import tap
from tests.streams.worker_process import WorkerProcess, ledger
from tests.waiting import blocking_until

pytestmark = pytest.mark.stack


@pytest.fixture
def worker(topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[WorkerProcess]:
    """A worker that has metered a log."""
    publish(topics.bootstrap, LOG)
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        blocking_until(lambda: len(ledger(topics.bootstrap)) == LINES, 30)
        yield worker


def last_words(worker: WorkerProcess) -> str:
    """Why it stopped; the sentence is one line of the log."""
    assert worker.process.wait(timeout=60) != 0
    return worker.log.partition("the worker stops: ")[2].partition("\n")[0]


def test_an_events_topic_that_is_made_anew_stops_the_worker(
    topics: RunningKafka, worker: WorkerProcess
) -> None:
    with admin(topics.bootstrap) as client:
        client.delete_topics([names.EVENTS])
        blocking_until(lambda: names.EVENTS not in client.list_topics(), 10)
    ensure_topics(topics.bootstrap, PARTITIONS)
    publish(topics.bootstrap, [tap(100)])
    assert "the topic was deleted or cut" in last_words(worker)
    assert len(ledger(topics.bootstrap)) == LINES


def test_more_partitions_stop_the_worker_and_are_refused_at_every_start(
    topics: RunningKafka, worker: WorkerProcess
) -> None:
    with admin(topics.bootstrap) as client:
        client.create_partitions({names.EVENTS: 2 * PARTITIONS})
    publish(topics.bootstrap, [tap(100 + number) for number in range(5)])
    assert "phone-events has 8 partitions, but phone-state has 4" in last_words(worker)
    assert len(ledger(topics.bootstrap)) == LINES
    for setting in (PARTITIONS, 2 * PARTITIONS):
        with pytest.raises(
            UserError, match=r"different numbers of partitions \(phone-events 8, phone-ledger 4"
        ):
            ensure_topics(topics.bootstrap, setting)


def test_more_partitions_of_all_topics_together_are_refused_as_well(
    topics: RunningKafka, worker: WorkerProcess
) -> None:
    with admin(topics.bootstrap) as client:
        client.create_partitions({topic.name: 2 * PARTITIONS for topic in names.ALL})
    publish(topics.bootstrap, [tap(100 + number) for number in range(5)])
    assert "phone-events has 8 partitions, but the state was written when it had 4" in last_words(worker)
    assert len(ledger(topics.bootstrap)) == LINES
