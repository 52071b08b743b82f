"""Connections to Kafka by librdkafka, with its errors as sentences."""

from collections.abc import Callable
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from kafka_access.librdkafka import librdkafka_options
from metering.topics import CLOSED_BYTES, EVENTS
from producers.errors import DeliveryError
from producers.reachability import no_kafka, no_topic, not_confirmed, wait_for_listener
from producers.settings import ProducerSettings

BATCH_BYTES: Final = 131_072
"""Largest batch per partition; larger ones were slower."""

REQUEST_TIMEOUT_S_MAX: Final = 10.0
RECONNECT_MS_MAX: Final = 2_000
UNLIMITED: Final = 2_147_483_647

OPEN: Final = frozenset(
    getattr(KafkaError, name) for name in ("_MSG_TIMED_OUT", "_TIMED_OUT", "_PURGE_QUEUE", "_PURGE_INFLIGHT")
)
"""Errors after which the outcome is unknown: a timeout, or the event was given up."""

NO_TOPIC: Final = frozenset(
    getattr(KafkaError, name)
    for name in (
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "UNKNOWN_TOPIC_OR_PART",
        "TOPIC_AUTHORIZATION_FAILED",
    )
)


class ConnectedProducer(NamedTuple):
    """A connected, idempotent producer, the number of partitions of `phone-events`, and the cluster's id."""

    producer: Producer
    partitions: int
    cluster: str


def connect(settings: ProducerSettings, on_error: Callable[[KafkaError], None]) -> ConnectedProducer:
    """Connect to Kafka.

    `on_error` is called with errors of the connection, whenever the producer is served.

    Raises:
        UnavailableError: no broker answers, or it has no `phone-events`.
    """
    wait_for_listener(settings)
    producer = Producer(_configuration(settings) | {"error_cb": on_error})
    name = settings.kafka_access.topic(EVENTS)
    try:
        found = producer.list_topics(name, timeout=settings.producer_block_s)
    except KafkaException as error:
        raise no_kafka(settings, _words(error.args[0])) from None
    topic = found.topics[name]
    if topic.error is not None or not topic.partitions:
        raise no_topic(settings, name, _words(topic.error) if topic.error else "it has no partitions")
    return ConnectedProducer(producer, len(topic.partitions), found.cluster_id or "")


def explain(error: KafkaError, settings: ProducerSettings, fatal: str) -> DeliveryError:
    """Turn the reason why an event was not confirmed into a sentence for its sender.

    `fatal` is the fatal error of the client, if it had one; later errors only refer to it.
    """
    if error.code() in OPEN:
        return not_confirmed(settings.kafka)
    if error.code() in NO_TOPIC:
        return no_topic(settings, settings.kafka_access.topic(EVENTS), _words(error))
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return DeliveryError(
            f"Kafka at {settings.kafka} takes no {BATCH_BYTES} bytes at once; raise max.message.bytes of "
            f"{settings.kafka_access.topic(EVENTS)} to {2 * BATCH_BYTES} or more, or if it is "
            f"{CLOSED_BYTES}, set PHONEMETER_KAFKA_PREFIX to that of the topics that the log was moved to."
        )
    return DeliveryError(f"Kafka at {settings.kafka} did not take the event: {fatal or _words(error)}.")


def _configuration(settings: ProducerSettings) -> dict[str, object]:
    request_timeout_s = min(REQUEST_TIMEOUT_S_MAX, settings.producer_delivery_timeout_s / 2)
    return {
        **librdkafka_options(settings.kafka_access),
        "client.id": "phonemeter-bulk",
        "acks": "all",
        "enable.idempotence": True,
        "allow.auto.create.topics": False,
        # The Java client's default, like that of every other client of ours (producers.partitioner).
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
        # The publisher limits the memory; a second limit would refuse events of a batch.
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": UNLIMITED,
        # Errors are reported in sentences instead of on stderr.
        "log_level": 0,
    }


def _words(error: KafkaError) -> str:
    return " ".join(error.str().split())[:200].rstrip(".")
