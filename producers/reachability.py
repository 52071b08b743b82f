"""The wait for a listening Kafka, and the errors of both clients when there is none."""

import socket
from typing import Final

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from producers.errors import UnavailableError
from producers.settings import ProducerSettings

PROBE_TIMEOUT_S: Final = 3.0


def wait_for_listener(settings: ProducerSettings) -> None:
    """Wait until something accepts connections, at most `producer_block_s`.

    Raises:
        UnavailableError: nothing does.
    """
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


def no_kafka(settings: ProducerSettings, reason: str) -> UnavailableError:
    """The error for a listener that is not Kafka or does not answer in time."""
    return UnavailableError(
        f"What listens at {settings.kafka} did not answer as Kafka within "
        f"{settings.producer_block_s:g} s ({reason}); check the address and the broker's log."
    )


def no_topic(settings: ProducerSettings, topic: str, reason: str) -> UnavailableError:
    """The error for a broker without the topic, or without access to it."""
    return UnavailableError(
        f"Kafka at {settings.kafka} has no topic {topic} that we may write to ({reason}); "
        f"`phonemeter up` creates it, elsewhere it is created beforehand."
    )


def not_confirmed(kafka: str) -> UnavailableError:
    """The error for an event whose delivery timed out; it may be stored nevertheless."""
    return UnavailableError(
        f"Kafka at {kafka} did not confirm the event in time. It may have been stored all the same: "
        f"publish the same event again, its id keeps it one call."
    )


def first_words(error: Exception) -> str:
    """The beginning of an error message, on one line."""
    text = str(error).removeprefix(f"{type(error).__name__}: ")
    return " ".join(text.split())[:200].rstrip(".")


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
