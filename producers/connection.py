"""Connections to Kafka by kafka-python, opened and closed in bounded time, with errors as sentences."""

import contextlib
from typing import Final

from kafka import KafkaProducer
from kafka.errors import Cancelled, KafkaConnectionError, KafkaError, KafkaTimeoutError

from kafka_access.kafka_python import kafka_python_options
from metering.topics import EVENTS
from producers.errors import DeliveryError
from producers.partitioner import KeyPartitioner
from producers.reachability import first_words, no_kafka, no_topic, not_confirmed, wait_for_listener
from producers.settings import ProducerSettings

BATCH_BYTES: Final = 131_072
"""Batch size: large, because one batch per partition is in flight at a time, which keeps the order."""

REQUEST_TIMEOUT_S_MAX: Final = 10.0
DISPOSE_TIMEOUT_S: Final = 5.0


def connect(settings: ProducerSettings) -> KafkaProducer:
    """A connected, idempotent `KafkaProducer` that knows `phone-events`.

    Raises:
        UnavailableError: no broker answers, or it has no `phone-events`.
    """
    # kafka-python 3.0.12 never closes the sockets of its failed attempts to connect, so it only starts
    # once something listens.
    wait_for_listener(settings)
    topic = settings.kafka_access.topic(EVENTS)
    timeout_ms = round(settings.producer_block_s * 1_000)
    delivery_timeout_ms = round(settings.producer_delivery_timeout_s * 1_000)
    request_timeout_s = min(REQUEST_TIMEOUT_S_MAX, settings.producer_delivery_timeout_s / 2)
    try:
        producer = KafkaProducer(
            **kafka_python_options(settings.kafka_access),
            client_id="phonemeter-producer",
            acks="all",
            enable_idempotence=True,
            allow_auto_create_topics=False,
            compression_type=None
            if settings.producer_compression == "none"
            else settings.producer_compression,
            batch_size=BATCH_BYTES,
            linger_ms=settings.producer_linger_ms,
            delivery_timeout_ms=max(
                delivery_timeout_ms, round(request_timeout_s * 1_000) + settings.producer_linger_ms
            ),
            request_timeout_ms=round(request_timeout_s * 1_000),
            reconnect_backoff_max_ms=2_000,
            max_block_ms=timeout_ms,
            bootstrap_timeout_ms=timeout_ms,
            metrics_enabled=False,
            partitioner=KeyPartitioner(),
        )
    except KafkaError as error:
        raise no_kafka(settings, first_words(error)) from None
    try:
        producer.partitions_for(topic)
    except KafkaError as error:
        dispose(producer, give_up=True)
        raise no_topic(settings, topic, first_words(error)) from None
    return producer


def dispose(producer: KafkaProducer, *, give_up: bool) -> None:
    """Close a `KafkaProducer`; with `give_up`, events that it still holds fail at once."""
    if give_up:
        producer._sender.force_close()  # noqa: SLF001 - close() alone raises before it closes
    with contextlib.suppress(KafkaTimeoutError):
        producer.close(timeout=DISPOSE_TIMEOUT_S)


def explain(error: Exception, kafka: str) -> DeliveryError:
    """Turn an error of the client library into a sentence for the sender."""
    if isinstance(error, KafkaTimeoutError | KafkaConnectionError | Cancelled):
        return not_confirmed(kafka)
    return DeliveryError(f"Kafka at {kafka} did not take the event: {first_words(error)}.")
