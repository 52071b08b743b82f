"""Errors of publishing; each message is one sentence for its reader."""

from metering.rejections import Rejection


class ProducerError(Exception):
    """Base class of the producer's errors."""


class RefusedError(ProducerError):
    """The event is invalid and was not sent; sending it again unchanged does not help."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.sentence)
        self.rejection = rejection


class DeliveryError(ProducerError):
    """Kafka did not confirm the event. It may have been stored all the same.

    Publish the same event (same `id`) again: that is idempotent, a duplicate is not charged.
    """


class GatewayRefusedError(DeliveryError):
    """The gateway refused the event; sending it again unchanged does not help."""


class UnavailableError(DeliveryError):
    """Kafka can't be reached, or accepts no more for now: later events would fail as well.

    Attributes:
        retry_after_s: how long not to try again, if that was said.
    """

    def __init__(self, sentence: str, retry_after_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class QueueFullError(UnavailableError):
    """So many events wait for their delivery that there is no room for this one; it was not taken."""
