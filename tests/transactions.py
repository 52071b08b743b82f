"""Records written in transactions, as Spring, Kafka Streams, Flink and Connect write them."""

import uuid
from collections.abc import Sequence
from typing import Final, Literal

from confluent_kafka import Producer

from kafka_access.access import KafkaAccess
from phonemeter.topic_reader import offset_spans
from tests.waiting import WITHIN_S, blocking_until

TIMEOUT_S: Final = WITHIN_S


def begun(
    bootstrap: str, topic: str, values: Sequence[bytes], *, key: bytes | None = None, partition: int = 0
) -> Producer:
    """Publish records in a transaction of their own, which the caller ends."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"of-others-{uuid.uuid4().hex}"})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, key, partition)
    producer.flush(TIMEOUT_S)
    return producer


def transaction(
    bootstrap: str,
    topic: str,
    values: Sequence[bytes],
    end: Literal["commit", "abort"],
    *,
    key: bytes | None = None,
    partition: int = 0,
) -> None:
    """Publish records in a transaction, end it, and wait until its marker is in the log."""
    before = offset_spans(KafkaAccess(bootstrap), topic)[partition].end
    producer = begun(bootstrap, topic, values, key=key, partition=partition)
    if end == "commit":
        producer.commit_transaction(TIMEOUT_S)
    else:
        producer.abort_transaction(TIMEOUT_S)
    # The marker is written after the transaction's end was decided.
    blocking_until(
        lambda: offset_spans(KafkaAccess(bootstrap), topic)[partition].end > before, within_s=TIMEOUT_S
    )
