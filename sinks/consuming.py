"""How this stage reads Kafka, whatever the topic: patience, sizes, what a commit says beside its offset."""

from collections.abc import Iterable
from typing import Any, Final

from kafka import KafkaConsumer
from kafka.errors import UnknownTopicOrPartitionError

from sinks.lines import BEFORE_ALL, Position

CONNECT_TIMEOUT_MS: Final = 2_000
REQUEST_TIMEOUT_MS: Final = 10_000
SESSION_TIMEOUT_MS: Final = 6_000
"""After a kill -9 the group waits this long for the dead member before its partitions move."""
HEARTBEAT_MS: Final = 2_000
METADATA_AGE_MS: Final = 5_000
"""How soon a topic that is created after the service started is noticed."""


def consumer(bootstrap: str, **own: Any) -> KafkaConsumer:  # noqa: ANN401 - options of kafka-python
    """A consumer that commits and skips nothing by itself.

    Args:
        bootstrap: the brokers.
        own: what only this one has: its name, its group, how much it fetches.
    """
    return KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=CONNECT_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        metadata_max_age_ms=METADATA_AGE_MS,
        **own,
    )


def partitions_of(reader: KafkaConsumer, topics: Iterable[str]) -> list[set[int]]:
    """The partitions of each topic; to be known before joining a group.

    A leader that divides a topic it knows nothing of gives everybody nothing, and if it learns of the
    partitions just then, kafka-python 3.0.12 never divides them again.

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


def metadata_of(word: str, position: Position) -> str:
    """A position as the metadata of a commit holds it; the word says what it is the position of."""
    return f"{word} {position.offset} {position.line}"


def position_in(word: str, metadata: str | None) -> Position:
    """The position in the metadata of a commit; commits made by other tools have none."""
    match (metadata or "").split():
        case [said, offset, line] if said == word and all(
            number.lstrip("-").isdigit() for number in (offset, line)
        ):
            return Position(int(offset), int(line))
    return BEFORE_ALL
