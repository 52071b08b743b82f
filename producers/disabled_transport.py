"""No delivery at all, where the settings say so: events are checked and dropped."""

import logging
from collections.abc import Sequence

from producers.event_queue import QueuedEvent
from producers.transport import Retry, Settle

log = logging.getLogger(__name__)


class DisabledTransport:
    """Takes events and keeps none."""

    address = "Nowhere"
    events_max = 1_000
    bytes_max = 1_048_576
    grace_s = 0.0

    def connect(self) -> None:
        """Say in the log that nothing is metered."""
        log.warning("Metering is disabled (client_transport): events are checked and dropped.")

    def send(self, events: Sequence[QueuedEvent], settle: Settle, retry: Retry) -> None:
        """Settle events as if they were delivered."""
        del retry
        for event in events:
            settle(event, ())

    def drop(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
