"""Views of a topic, compared with the mark of what was read before. Real broker."""

from collections.abc import Iterator

import msgspec
import pytest

from kafka_access.access import KafkaAccess
from metering.log_identity import Mark, difference, fingerprint
from metering.topics import LEDGER
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import ensure_topics
from sinks.log_view import LogViewer
from tests.conftest import PARTITIONS, RunningKafka
from tests.sinks.parts import Publisher
from tests.transactions import transaction
from tests.waiting import blocking_until


@pytest.fixture
def looker(topics: RunningKafka) -> Iterator[LogViewer]:
    looker = LogViewer(KafkaAccess(topics.bootstrap), LEDGER, "a-test")
    yield looker
    looker.close()


def publish(bootstrap: str, values: list[bytes]) -> None:
    with Publisher(bootstrap) as publisher:
        for value in values:
            publisher.publish_raw(0, value)


def marked(looker: LogViewer, offset: int) -> Mark:
    """The mark of a record that the topic has."""
    view = looker.view(0, Mark(offset=offset))
    assert view.found is not None
    return Mark(view.topic_id, offset, view.found.fingerprint, view.found.leader_epoch)


def test_a_recreated_topic_is_recognised_though_it_is_longer_than_the_old_one(
    topics: RunningKafka, looker: LogViewer
) -> None:
    publish(topics.bootstrap, [b"0", b"1", b"2"])
    mark = marked(looker, 2)
    assert difference(mark, 3, looker.view(0, mark)) == ""
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_topics([LEDGER])
        blocking_until(lambda: LEDGER not in client.list_topics())
    ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)
    publish(topics.bootstrap, [b"others"] * 5)
    assert "the topic was recreated (its id was" in difference(mark, 3, looker.view(0, mark))


def test_an_end_that_was_lost_and_written_again_is_recognised_by_the_record_that_was_read(
    topics: RunningKafka, looker: LogViewer
) -> None:
    publish(topics.bootstrap, [b"0", b"1", b"2"])
    other = msgspec.structs.replace(marked(looker, 2), fingerprint=fingerprint(None, b"what was there", 1))
    assert "at offset 2 it has another record than was read there" in difference(
        other, 3, looker.view(0, other)
    )
    assert "it ends at offset 3, but was read up to 9" in difference(other, 9, looker.view(0, other))


def test_where_a_transaction_ended_there_is_no_record(topics: RunningKafka, looker: LogViewer) -> None:
    transaction(topics.bootstrap, LEDGER, [b"0"], "commit")
    publish(topics.bootstrap, [b"2"])
    assert looker.view(0, Mark(offset=1)).found is None
    assert (looker.view(0, Mark()).begin, looker.view(0, Mark()).end) == (0, 3)
