"""Reaching Kafka and leaving it, within bounded time and with one sentence when it does not work."""

import contextlib
import socket
from typing import Final

from kafka import KafkaProducer
from kafka.errors import Cancelled, KafkaConnectionError, KafkaError, KafkaTimeoutError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from metering.topics import EVENTS
from producers.errors import DeliveryError, UnavailableError
from producers.partitioning import KeyPartitioner
from producers.settings import ProducerSettings

BATCH_BYTES: Final = 131_072
"""One batch per partition travels at a time (which keeps the order of retries), so it has to be large."""

REQUEST_TIMEOUT_S_MAX: Final = 10.0
PROBE_TIMEOUT_S: Final = 3.0
DISPOSE_TIMEOUT_S: Final = 5.0


def connect(settings: ProducerSettings) -> KafkaProducer:
    """A connected, idempotent `KafkaProducer` that knows `phone-events`.

    Raises:
        UnavailableError: no broker answers, or it has no `phone-events`.
    """
    # kafka-python 3.0.12 never closes the sockets of its failed attempts to connect, so it only starts
    # once something listens.
    _wait_for_listener(settings)
    timeout_ms = round(settings.producer_block_s * 1_000)
    delivery_timeout_ms = round(settings.producer_delivery_timeout_s * 1_000)
    request_timeout_s = min(REQUEST_TIMEOUT_S_MAX, settings.producer_delivery_timeout_s / 2)
    try:
        producer = KafkaProducer(
            bootstrap_servers=settings.kafka.split(","),
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
        raise UnavailableError(
            f"What listens at {settings.kafka} did not answer as Kafka within "
            f"{settings.producer_block_s:g} s ({first_words(error)}); check the address and the broker's log."
        ) from None
    try:
        producer.partitions_for(EVENTS)
    except KafkaError as error:
        dispose(producer, give_up=True)
        raise UnavailableError(
            f"Kafka at {settings.kafka} has no topic {EVENTS} that we may write to ({first_words(error)}); "
            f"`phonemeter up` creates it, elsewhere it is created beforehand."
        ) from None
    return producer


def dispose(producer: KafkaProducer, *, give_up: bool) -> None:
    """Close a `KafkaProducer`; with `give_up`, events that it still holds fail and are not waited for."""
    if give_up:
        producer._sender.force_close()  # noqa: SLF001 - close() alone raises before it closes
    with contextlib.suppress(KafkaTimeoutError):
        producer.close(timeout=DISPOSE_TIMEOUT_S)


def explain(error: Exception, kafka: str) -> DeliveryError:
    """Turn an error of the client library into a sentence for whoever sent the event."""
    if isinstance(error, KafkaTimeoutError | KafkaConnectionError | Cancelled):
        return UnavailableError(
            f"Kafka at {kafka} did not confirm the event in time. It may have been stored all the same: "
            f"publish the same event again, its id keeps it one call."
        )
    return DeliveryError(f"Kafka at {kafka} did not take the event: {first_words(error)}.")


def first_words(error: Exception) -> str:
    """An error in few words, on one line."""
    text = str(error).removeprefix(f"{type(error).__name__}: ")
    return " ".join(text.split())[:200].rstrip(".")


def _wait_for_listener(settings: ProducerSettings) -> None:
    attempts = Retrying(
        stop=stop_after_delay(settings.producer_block_s),
        wait=wait_exponential_jitter(multiplier=0.1, max=1, jitter=0.1),
        retry=retry_if_exception_type(OSError),
        reraise=True,
    )
    try:
        attempts(_connect_to_any, settings.kafka.split(","), min(PROBE_TIMEOUT_S, settings.producer_block_s))
    except OSError as error:
        raise UnavailableError(
            f"Kafka does not answer at {settings.kafka} ({error.strerror or first_words(error)}); start it, "
            f"or set PHONEMETER_KAFKA to where it is."
        ) from None


def _connect_to_any(addresses: list[str], timeout_s: float) -> None:
    last: OSError | None = None
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
        except OSError as error:
            last = error
        else:
            return
    if last is not None:
        raise last
