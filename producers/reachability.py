"""The wait for a listening Kafka, and the errors of both clients when there is none."""

from typing import Final

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from kafka_access.access import KafkaAccessError
from kafka_access.connection_steps import require_access
from producers.errors import UnavailableError
from producers.settings import ProducerSettings

PROBE_TIMEOUT_S: Final = 3.0


def wait_for_listener(settings: ProducerSettings) -> None:
    """Wait until a broker lets us in, at most `producer_block_s`; one that refuses us is not waited for.

    Raises:
        UnavailableError: none does.
    """
    attempts = Retrying(
        stop=stop_after_delay(settings.producer_block_s),
        wait=wait_exponential_jitter(multiplier=0.1, max=1, jitter=0.1),
        retry=retry_if_exception(lambda error: isinstance(error, KafkaAccessError) and error.unreachable),
        reraise=True,
    )
    try:
        attempts(require_access, settings.kafka_access, min(PROBE_TIMEOUT_S, settings.producer_block_s))
    except KafkaAccessError as error:
        if not error.unreachable:
            raise UnavailableError(f"{error}.") from None
        reason = error.__cause__ or error
        raise UnavailableError(
            f"Kafka does not answer at {settings.kafka} "
            f"({getattr(reason, 'strerror', None) or first_words(error)}); start it, or set PHONEMETER_KAFKA "
            f"to where it is."
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
