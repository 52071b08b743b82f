"""The events that were published and have no outcome yet, with room for no more than the limits allow."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from producers.delivery import Delivery, DeliveryOutcome, OnSettled
from producers.errors import DeliveryError, ProducerError, QueueFullError
from producers.outcomes import Failures, Identity, Outcomes

log = logging.getLogger(__name__)

EVENT_OVERHEAD_BYTES: Final = 2_048
"""Memory per event without an outcome, besides its bytes."""


class QueueLimits(NamedTuple):
    """The most events, and bytes of them, that may be without an outcome."""

    events: int
    size_bytes: int


class QueuedEvent:
    """An event on its way.

    Attributes:
        identity: its subject and its id.
        before_sending: what is done first, by the sending thread.
        value: its JSON.
        everywhere: whether it goes to every partition.
        deadline_s: when it is given up, by the monotonic clock.
        handed_over: whether its transport has it.
        claimed: whether its outcome is known, or about to be.
    """

    __slots__ = (
        "before_sending",
        "claimed",
        "deadline_s",
        "delivery",
        "everywhere",
        "handed_over",
        "identity",
        "on_settled",
        "value",
    )

    def __init__(
        self,
        identity: Identity,
        value: bytes,
        delivery: Delivery,
        *,
        deadline_s: float,
        on_settled: OnSettled | None = None,
        everywhere: bool = False,
        before_sending: Callable[[], None] | None = None,
    ) -> None:
        self.identity = identity
        self.value = value
        self.delivery = delivery
        self.deadline_s = deadline_s
        self.on_settled = on_settled
        self.everywhere = everywhere
        self.before_sending = before_sending
        self.handed_over = False
        self.claimed = False

    @property
    def key(self) -> bytes:
        """The key of the record."""
        return self.identity[0].encode()

    @property
    def size_bytes(self) -> int:
        """The room that it takes."""
        return len(self.value) + len(self.key) + EVENT_OVERHEAD_BYTES


class QueueCounts(NamedTuple):
    """The events of a producer since it was made.

    Attributes:
        waiting: without an outcome now.
        delivered: confirmed.
        failed: given up; some of them may be stored all the same.
        turned_away: not taken, because the queue was full.
    """

    waiting: int
    delivered: int
    failed: int
    turned_away: int


class EventQueue:
    """The events that wait or are under way, in the order of publishing. Threads share it."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: deque[QueuedEvent] = deque()
        self._open: dict[QueuedEvent, None] = {}
        self._open_bytes = 0
        self._outcomes = Outcomes()
        self._closed = False
        self._counts = QueueCounts(0, 0, 0, 0)

    def put(self, event: QueuedEvent, room_s: float) -> None:
        """Take an event in; wait for room if `room_s` is more than 0. An empty queue has room for any event.

        Raises:
            QueueFullError: there is no room.
            ProducerError: the queue is closed.
        """
        with self._changed:
            found = self._changed.wait_for(lambda: self._closed or self._has_room(event), room_s)
            if self._closed:
                raise ProducerError("The producer is closed; create another one to publish more.")
            if not found:
                self._counts = self._counts._replace(turned_away=self._counts.turned_away + 1)
                raise QueueFullError(
                    f"{len(self._open):,} event(s) wait for their delivery, and there is room for no more: "
                    f"the limits are {self._limits.events:,} events and {self._limits.size_bytes:,} bytes."
                )
            self._waiting.append(event)
            self._open[event] = None
            self._open_bytes += event.size_bytes
            self._outcomes.begin(event.identity)
            self._changed.notify_all()

    def take(self, events_max: int, bytes_max: int, within_s: float) -> list[QueuedEvent]:
        """The next events, once there are some; none if there are none in time, or the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, within_s)
            taken: list[QueuedEvent] = []
            size_bytes = 0
            while self._waiting and len(taken) < events_max:
                size_bytes += len(self._waiting[0].value) + 1
                if taken and size_bytes > bytes_max:
                    break
                event = self._waiting.popleft()
                if not event.claimed:
                    event.handed_over = True
                    taken.append(event)
            return taken

    def put_back(self, events: Sequence[QueuedEvent]) -> None:
        """Have events sent again, before all others."""
        with self._changed:
            again = [event for event in events if not event.claimed]
            for event in again:
                event.handed_over = False
            self._waiting.extendleft(reversed(again))
            self._changed.notify_all()

    def take_back(self) -> None:
        """Have all events sent again that were handed over."""
        self.put_back([event for event in self.open_events() if event.handed_over])

    def settle(self, event: QueuedEvent, outcome: DeliveryOutcome) -> None:
        """Note the outcome of an event, and tell its callback. Only the first outcome counts."""
        with self._changed:
            if event.claimed:
                return
            event.claimed = True
        failure = outcome if isinstance(outcome, DeliveryError) else None
        try:
            if event.on_settled is not None:
                event.on_settled(failure)
        except Exception:
            log.exception("The callback of an event failed.")
        finally:
            event.delivery.settle(outcome)
            self._leave(event, failure)

    def overdue(self, grace_s: float) -> list[QueuedEvent]:
        """The events whose time is over: those under way have `grace_s` more."""
        now_s = time.monotonic()
        found: list[QueuedEvent] = []
        with self._changed:
            # They are open for as long as each other, so the oldest comes first.
            for event in self._open:
                if event.deadline_s > now_s:
                    break
                if not event.handed_over or event.deadline_s + grace_s <= now_s:
                    found.append(event)
        return found

    def open_events(self) -> list[QueuedEvent]:
        """All events without an outcome, the oldest first."""
        with self._changed:
            return list(self._open)

    def wait(self, timeout_s: float) -> bool:
        """Wait until every event has its outcome; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_s)

    def take_failures(self) -> Failures:
        """The failures since the last call."""
        with self._changed:
            return self._outcomes.take_failures()

    def close(self) -> None:
        """Take no more events in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def counts(self) -> QueueCounts:
        """The counts up to now."""
        with self._changed:
            return self._counts._replace(waiting=len(self._open))

    def _has_room(self, event: QueuedEvent) -> bool:
        return not self._open or (
            len(self._open) < self._limits.events
            and self._open_bytes + event.size_bytes <= self._limits.size_bytes
        )

    def _leave(self, event: QueuedEvent, failure: DeliveryError | None) -> None:
        with self._changed:
            del self._open[event]
            self._open_bytes -= event.size_bytes
            self._outcomes.settle(event.identity, failure)
            done = self._counts
            self._counts = (
                done._replace(delivered=done.delivered + 1)
                if failure is None
                else done._replace(failed=done.failed + 1)
            )
            self._changed.notify_all()
