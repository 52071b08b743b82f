"""A producer for the tests of back ends: no thread, no network, and every event to be looked at."""

import msgspec

from producers.client import EventProducer
from producers.client_settings import ClientSettings
from producers.errors import DeliveryError, QueueFullError, UnavailableError
from producers.event_queue import QueuedEvent
from producers.events import CloudEvent


class FakeEventProducer(EventProducer):
    """A producer that checks events as the real one does, and keeps them.

    Attributes:
        events: the events published, the oldest first, also those that were to fail.
        failure: what each delivery fails with from now on; None if it succeeds.
        is_full: whether `publish` raises `QueueFullError` from now on.
    """

    def __init__(self) -> None:
        super().__init__(ClientSettings(client_transport="disabled"))
        self.events: list[CloudEvent] = []
        self.failure: DeliveryError | None = None
        self.is_full = False

    def connect(self) -> None:
        """Return at once, or raise the failure that deliveries have."""
        if isinstance(self.failure, UnavailableError):
            raise self.failure

    def _hand_over(self, event: QueuedEvent) -> None:
        if self.is_full:
            raise QueueFullError("The queue of the fake producer is full, as the test asked for.")
        self.events.append(msgspec.json.decode(event.value))
        queue = self._sending.queue
        queue.put(event, 0)
        for taken in queue.take(1, len(event.value), 0):
            queue.settle(taken, self.failure or ())
