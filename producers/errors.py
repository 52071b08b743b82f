"""What can go wrong with an event on its way to Kafka; each message is one sentence for its reader."""

from metering.events import Rejection


class ProducerError(Exception):
    """Base of what the producer raises."""


class RefusedError(ProducerError):
    """The event itself is wrong: it was not sent, and sending it again as it is will not help."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.sentence)
        self.rejection = rejection


class DeliveryError(ProducerError):
    """Kafka did not confirm the event. It may have been stored all the same.

    Publishing the same event (same `id`) again is always right: a duplicate is recognized and not charged.
    """


class UnavailableError(DeliveryError):
    """Kafka can't be reached, or takes no more for now: later events would fail as well."""
