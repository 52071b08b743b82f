"""Errors of kafka-python that a service survives, and the metadata of a commit."""

import time
from typing import Any

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import TopicPartition

from kafka_access.access import KafkaAccess
from metering.log_identity import Mark
from metering.topics import LEDGER
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from sinks.kafka_consumer import (
    LOOKUP_PAUSE_S,
    CommitMetadata,
    LibraryError,
    decode_metadata,
    encode_metadata,
    translate_kafka_errors,
)
from sinks.ledger_source import LedgerSource
from sinks.position import BEFORE_ALL, Position
from tests.conftest import RunningKafka
from tests.waiting import blocking_until


def test_a_partition_that_has_no_leader_is_no_end_of_the_service(topics: RunningKafka) -> None:
    source = LedgerSource(KafkaAccess(topics.bootstrap))
    try:
        # kafka-python leaves out a partition without leader, and then raises a KeyError for it.
        with pytest.raises(LibraryError, match=r"failed with KeyError \(TopicPartition\(.*partition=999"):
            source.end_offsets([0, 999])
        assert issubclass(LibraryError, KafkaError)
        assert source.end_offsets([0]) == {0: 0}
    finally:
        source.close()


def test_a_group_that_is_joined_again_for_longer_than_a_poll_gives_its_partitions_again(
    topics: RunningKafka,
) -> None:
    source = LedgerSource(KafkaAccess(topics.bootstrap))
    came: list[str] = []

    def is_given() -> bool:
        source.poll(0.1)
        came.extend(event.kind for event in source.rebalances())
        return came[-1:] == ["assigned"]

    try:
        coordinator = source._consumer._coordinator
        blocking_until(lambda: is_given() and bool(coordinator._assignment_snapshot))
        # As when the topic's metadata changes while the group is being joined.
        coordinator._assignment_snapshot = {}
        source.poll(0.0)
        assert coordinator._join_task is not None
        blocking_until(lambda: coordinator._join_task.is_done)
        came.clear()
        blocking_until(is_given)
    finally:
        source.close()


def test_a_coordinator_that_is_named_but_dead_is_asked_for_at_a_limited_pace(topics: RunningKafka) -> None:
    source = LedgerSource(KafkaAccess(topics.bootstrap))
    try:
        coordinator = source._consumer._coordinator
        answers: list[object] = []
        take = coordinator._handle_find_coordinator_response

        def take_and_count(response: object) -> object:
            answers.append(response)
            return take(response)

        coordinator._handle_find_coordinator_response = take_and_count
        # As of a broker that refuses connections while the others still name it.
        coordinator.coordinator_unknown = lambda: True
        while len(answers) < 2:
            source.poll(0.5)
        began, before_s = len(answers), time.monotonic()
        source.poll(1.0)
        # Without a pause they are hundreds.
        assert len(answers) - began <= 1 + (time.monotonic() - before_s) / LOOKUP_PAUSE_S
    finally:
        source.close()


def test_commands_say_it_in_a_sentence_too(topics: RunningKafka) -> None:
    nowhere = {TopicPartition(LEDGER, 0): "no such way to say which offset"}
    sentence = "did not do what was asked: kafka-python failed with TypeError"
    with pytest.raises(OperationError, match=sentence), admin(KafkaAccess(topics.bootstrap)) as client:
        client.list_partition_offsets(nowhere)


def test_errors_of_its_own_kind_stay_what_they_are() -> None:
    with pytest.raises(KafkaTimeoutError), translate_kafka_errors():
        raise KafkaTimeoutError("nobody answers")


def test_a_bug_of_ours_is_not_hidden_where_the_library_calls_us_back() -> None:
    def called_back(_value: Any) -> int:  # noqa: ANN401 - whatever the library gives
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"), translate_kafka_errors():
        sorted([TopicPartition("a", 1)], key=called_back)


def test_the_metadata_of_a_commit_has_a_position_and_a_mark() -> None:
    mark = Mark("an-id", 7, 2**64 - 1, 3)
    assert decode_metadata("stored", encode_metadata("stored", Position(5, 1), mark)) == CommitMetadata(
        Position(5, 1), mark
    )


@pytest.mark.parametrize("metadata", [None, "", "stored", "asked 5 1", "stored x 1"])
def test_the_metadata_of_other_tools_are_ignored(metadata: str | None) -> None:
    assert decode_metadata("stored", metadata) == CommitMetadata(BEFORE_ALL, Mark())


@pytest.mark.parametrize("metadata", ["stored 5 1", "stored 5 1 {}", "stored 5 1 [7]"])
def test_a_commit_of_an_older_version_has_no_mark(metadata: str) -> None:
    assert decode_metadata("stored", metadata) == CommitMetadata(Position(5, 1), Mark())
