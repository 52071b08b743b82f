"""The ways to deliver events: what the sending thread asks of each."""

from collections.abc import Callable, Sequence
from typing import Protocol

from producers.delivery import DeliveryOutcome
from producers.event_queue import QueuedEvent

Settle = Callable[[QueuedEvent, DeliveryOutcome], None]
"""Notes the outcome of an event."""

Retry = Callable[[Sequence[QueuedEvent]], None]
"""Has events sent again."""


class EventTransport(Protocol):
    """A way to Kafka. One thread uses it.

    Attributes:
        address: where it leads, for sentences.
        events_max: the most events that one call of `send` takes.
        bytes_max: the most bytes of events, likewise.
        grace_s: how long after `deadline_s` the outcome of an event may still arrive.
    """

    address: str
    events_max: int
    bytes_max: int
    grace_s: float

    def connect(self) -> None:
        """Connect.

        Raises:
            UnavailableError: nothing answers there, or not as it should.
        """

    def send(self, events: Sequence[QueuedEvent], settle: Settle, retry: Retry) -> None:
        """Send events. Each is settled, or given to `retry`: before it returns, or later from any thread.

        Raises:
            UnavailableError: the connection is of no use any more; those that were neither settled nor
                given to `retry` are sent again over another one.
        """

    def drop(self) -> None:
        """Give the connection up, with what it has under way."""

    def abandon(self) -> None:
        """Leave the connection alone: it is that of the process that this one was forked from."""

    def close(self) -> None:
        """Disconnect, once nothing is under way."""
