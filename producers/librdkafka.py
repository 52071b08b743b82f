"""Reaching Kafka with librdkafka, and what its errors mean to whoever sent the events."""

from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from metering.topics import EVENTS
from producers.errors import DeliveryError
from producers.reaching import no_kafka, no_topic, not_confirmed, wait_for_listener
from producers.settings import ProducerSettings

BATCH_BYTES: Final = 131_072
"""What travels to a partition in one piece, at most; larger ones were slower."""

REQUEST_TIMEOUT_S_MAX: Final = 10.0
RECONNECT_MS_MAX: Final = 2_000
UNLIMITED: Final = 2_147_483_647

OPEN: Final = frozenset(
    getattr(KafkaError, name) for name in ("_MSG_TIMED_OUT", "_TIMED_OUT", "_PURGE_QUEUE", "_PURGE_INFLIGHT")
)
"""The time was over, or we had it given up: nobody knows."""

NO_TOPIC: Final = frozenset(
    getattr(KafkaError, name)
    for name in (
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "UNKNOWN_TOPIC_OR_PART",
        "TOPIC_AUTHORIZATION_FAILED",
    )
)


def connect(settings: ProducerSettings, on_error: Callable[[KafkaError], None]) -> tuple[Producer, int]:
    """A connected, idempotent producer, and the number of partitions of `phone-events`.

    Args:
        settings: where Kafka is, and the limits.
        on_error: told what is wrong with Kafka as a whole, whenever the producer is served.

    Raises:
        UnavailableError: no broker answers, or it has no `phone-events`.
    """
    wait_for_listener(settings)
    producer = Producer(_configuration(settings) | {"error_cb": on_error})
    try:
        topic = producer.list_topics(EVENTS, timeout=settings.producer_block_s).topics[EVENTS]
    except KafkaException as error:
        raise no_kafka(settings, _words(error.args[0])) from None
    if topic.error is not None or not topic.partitions:
        raise no_topic(settings, EVENTS, _words(topic.error) if topic.error else "it has no partitions")
    return producer, len(topic.partitions)


def explain(error: KafkaError, settings: ProducerSettings, fatal: str) -> DeliveryError:
    """Turn the outcome of an event into a sentence for whoever sent it.

    Args:
        error: why it was not confirmed.
        settings: where it was sent.
        fatal: what librdkafka gave up about before, if it did: its later errors only say that it did.
    """
    if error.code() in OPEN:
        return not_confirmed(settings.kafka)
    if error.code() in NO_TOPIC:
        return no_topic(settings, EVENTS, _words(error))
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return DeliveryError(
            f"Kafka at {settings.kafka} takes no {BATCH_BYTES} bytes at once; raise max.message.bytes of "
            f"{EVENTS} to {2 * BATCH_BYTES} or more."
        )
    return DeliveryError(f"Kafka at {settings.kafka} did not take the event: {fatal or _words(error)}.")


def _configuration(settings: ProducerSettings) -> dict[str, object]:
    request_timeout_s = min(REQUEST_TIMEOUT_S_MAX, settings.producer_delivery_timeout_s / 2)
    return {
        "bootstrap.servers": settings.kafka,
        "client.id": "phonemeter-bulk",
        "acks": "all",
        "enable.idempotence": True,
        "allow.auto.create.topics": False,
        # The Java client's default, like that of every other client of ours (producers.partitioning).
        "partitioner": "murmur2_random",
        "compression.type": settings.producer_compression,
        "linger.ms": settings.producer_linger_ms,
        "batch.size": BATCH_BYTES,
        "delivery.timeout.ms": round(
            max(settings.producer_delivery_timeout_s, request_timeout_s + settings.producer_linger_ms / 1_000)
            * 1_000
        ),
        "request.timeout.ms": round(request_timeout_s * 1_000),
        "socket.timeout.ms": round(request_timeout_s * 1_000),
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": RECONNECT_MS_MAX,
        # How much may wait is bounded by whoever publishes; a second bound would refuse events of a batch.
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": UNLIMITED,
        # What it would log to stderr is told in sentences.
        "log_level": 0,
    }


def _words(error: KafkaError) -> str:
    return " ".join(error.str().split())[:200].rstrip(".")
