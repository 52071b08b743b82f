"""Consumers of this stage: their options, kafka-python's errors, and the metadata of their commits."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

from kafka_access.access import KafkaAccess, KafkaAccessError
from kafka_access.connection_steps import require_access
from kafka_access.kafka_python import kafka_python_options
from metering.damage import damage
from metering.log_identity import Mark
from sinks.errors import raised_by
from sinks.position import BEFORE_ALL, Position

CONNECT_TIMEOUT_MS: Final = 2_000
REQUEST_TIMEOUT_MS: Final = 10_000
SESSION_TIMEOUT_MS: Final = 6_000
"""Time after a kill -9 before the group reassigns the dead member's partitions."""
HEARTBEAT_MS: Final = 500
"""Time within which every member hears of a change of the group. All give their partitions up meanwhile: the
first one waits for the last."""
METADATA_AGE_MS: Final = 5_000
"""Time within which a topic that is created or recreated is noticed."""
LOOKUP_PAUSE_S: Final = 0.2
"""Pause before each question for the coordinator of a group but the first."""

_DAMAGED_AT: Final = re.compile(r"TopicPartition\(topic='([^']+)', partition=(\d+)\) at offset (\d+)")
"""The damaged offset in kafka-python's message; the error has no other attribute that names it."""

_marks: Final = msgspec.json.Decoder(Mark)


class CommitMetadata(NamedTuple):
    """Metadata of a commit: a position among ledger entries or alerts, and the mark of the log."""

    position: Position = BEFORE_ALL
    mark: Mark = Mark()


class LibraryError(KafkaError):  # type: ignore[misc]  # kafka-python ships no types
    """An error of kafka-python that is no KafkaError, such as a KeyError; to be retried like one."""


class AccessRefusedError(KafkaConnectionError):  # type: ignore[misc]  # as above
    """No broker lets us in; its text is a sentence without a full stop."""

    def __str__(self) -> str:
        return str(self.args[0])


class DamagedError(KafkaError):  # type: ignore[misc]  # as above
    """Damage in a topic at the next record, with what to do about it."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(damage(topic, partition, offset).rstrip("."))
        self.partition = partition
        self.offset = offset


@contextmanager
def translate_kafka_errors() -> Iterator[None]:
    """Turn every error that kafka-python raises in the block into a `KafkaError`.

    kafka-python 3.0.12 raises a KeyError where a partition has no leader, for example. Errors of our own code
    that it calls back are not changed.

    Raises:
        DamagedError: the next record is damaged.
        LibraryError: in place of an error of kafka-python that is no KafkaError.
    """
    try:
        yield
    except CorruptRecordError as error:
        place = _DAMAGED_AT.search(f"{error}")
        if place is None:
            raise
        raise DamagedError(place[1], int(place[2]), int(place[3])) from None
    except KafkaError:
        raise
    except Exception as error:
        if raised_by(error) != "kafka":
            raise
        raise LibraryError(
            f"kafka-python failed with {type(error).__name__} ({str(error)[:200]}), as where a partition has "
            f"no leader"
        ) from error


def consumer(kafka: KafkaAccess, **own: Any) -> KafkaConsumer:  # noqa: ANN401 - options of kafka-python
    """Create a consumer that reads committed records only, and commits or resets its position only when told.

    `own` are further options, such as its name, its group and its fetch sizes.

    Raises:
        KafkaError: no broker lets us in.
    """
    require_kafka(kafka)
    reader = KafkaConsumer(
        **kafka_python_options(kafka),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=CONNECT_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        metadata_max_age_ms=METADATA_AGE_MS,
        **own,
    )
    _pace_lookups(reader)
    return reader


def _pace_lookups(reader: KafkaConsumer) -> None:
    """Have the consumer pause between questions for its coordinator.

    While the other brokers still name one that is dead, kafka-python 3.0.12 asks again without a pause: it
    takes a whole core and logs hundreds of lines a second, for as long as the cluster has no controller.
    """
    coordinator = reader._coordinator  # noqa: SLF001 - there is no public way, and the version is pinned
    ask, sleep = coordinator._send_group_coordinator_request, reader._net.sleep  # noqa: SLF001 - as above
    asked_before = False

    async def ask_after_pause() -> Any:  # noqa: ANN401 - kafka-python has no types
        nonlocal asked_before
        if asked_before:
            await sleep(LOOKUP_PAUSE_S)
        asked_before = True
        return await ask()

    coordinator._send_group_coordinator_request = ask_after_pause  # noqa: SLF001 - as above


def require_kafka(kafka: KafkaAccess) -> None:
    """Check that a broker lets us in, because kafka-python does not say why not, and leaves sockets open.

    Raises:
        KafkaConnectionError: none does, with the reason in a sentence.
    """
    try:
        require_access(kafka)
    except KafkaAccessError as error:
        raise AccessRefusedError(str(error)) from error


def poll(reader: KafkaConsumer, pause_s: float) -> Mapping[TopicPartition, list[Any]]:
    """Fetch the next records of a group's partitions, waiting for them at most `pause_s`.

    Works around a fault of kafka-python 3.0.12: when it rejoins a group because the topic changed, and that
    takes longer than one poll, it never finishes, and neither reads nor sends heartbeats.
    """
    with translate_kafka_errors():
        coordinator = reader._coordinator  # noqa: SLF001 - there is no public way, and the version is pinned
        if coordinator.rejoining and not coordinator.rejoin_needed:
            coordinator.request_rejoin()
        polled: Mapping[TopicPartition, list[Any]] = reader.poll(timeout_ms=int(pause_s * 1_000))
        return polled


def partitions_of(reader: KafkaConsumer, topics: Iterable[str]) -> list[set[int]]:
    """Return the partitions of each topic. To be called before joining a group.

    A group leader that does not know a topic's partitions yet assigns none, and if it learns of them during
    the assignment, kafka-python 3.0.12 never assigns them again.

    Raises:
        UnknownTopicOrPartitionError: there is no such topic yet; the consumer is closed.
    """
    found = []
    for topic in topics:
        partitions = reader.partitions_for_topic(topic)
        if not partitions:
            reader.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)
            raise UnknownTopicOrPartitionError(
                f"there is no topic {topic} yet; `phonemeter topics` creates it"
            )
        found.append(partitions)
    return found


def encode_metadata(word: str, position: Position, mark: Mark) -> str:
    """Encode the metadata of a commit; `word` names the kind of its position."""
    return f"{word} {position.offset} {position.line} {msgspec.json.encode(mark).decode()}"


def decode_metadata(word: str, metadata: str | None) -> CommitMetadata:
    """Decode the metadata of a commit: those of older versions have no mark, those of other tools nothing."""
    match (metadata or "").split():
        case [kind, offset, line, *mark] if kind == word and all(
            number.lstrip("-").isdigit() for number in (offset, line)
        ):
            return CommitMetadata(Position(int(offset), int(line)), _mark_of(mark))
    return CommitMetadata()


def _mark_of(texts: list[str]) -> Mark:
    try:
        return _marks.decode(texts[0]) if texts else Mark()
    except msgspec.DecodeError:
        return Mark()
