"""The emission of many events: each is accepted or refused, and each accepted one is delivered or fails.

A refused event never stops the others. A failed delivery does, because later events must not overtake it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from metering.events import VALUE_BYTES_MAX
from metering.rejections import Rejection, RejectionReason
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError
from producers.event_batch import EventBatch
from producers.event_check import check

TOO_LONG: Final = Rejection(
    "too_large", f"The line has more than the {VALUE_BYTES_MAX} bytes allowed for an event."
)


class Refusal(NamedTuple):
    """The reason why the event of a line was not sent."""

    line: int
    reason: RejectionReason
    sentence: str


class Totals(NamedTuple):
    """Counts of events; those accepted and neither delivered nor failed are in flight."""

    accepted: int
    refused: int
    delivered: int
    failed: int


class EventPublisher(Protocol):
    """The part of `producers.bulk.BulkProducer` that an emission uses."""

    @property
    def failure(self) -> DeliveryError | None:
        """The reason of the first failed event."""

    def wait_for_room(self) -> None:
        """Wait until a batch may be published."""

    def publish(self, values: Sequence[bytes]) -> EventBatch:
        """Check events and send the valid ones."""

    def serve(self, timeout_s: float = 0) -> None:
        """Process the outcomes that have arrived."""

    def stop_sending(self) -> None:
        """Give up what has not left this process."""

    def finish(self) -> None:
        """Wait for all outcomes."""


class CheckingPublisher:
    """A publisher that only checks."""

    failure: DeliveryError | None = None

    def __init__(self, *, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._now_ms = now_ms

    def publish(self, values: Sequence[bytes]) -> EventBatch:
        """Check events."""
        batch = EventBatch(values)
        now_ms = self._now_ms()
        for place, value in enumerate(values):
            event = check(value, now_ms=now_ms)
            if isinstance(event, Rejection):
                batch.refusals.append((place, event))
            else:
                batch.accepted += 1
        batch.close()
        return batch

    def wait_for_room(self) -> None:
        """Return at once: nothing is held."""

    def serve(self, timeout_s: float = 0) -> None:
        """Do nothing: no outcome is open."""

    def stop_sending(self) -> None:
        """Do nothing: nothing was sent."""

    def finish(self) -> None:
        """Do nothing: no outcome is open."""


class _SentBatch(NamedTuple):
    lines: Sequence[int]
    batch: EventBatch


class Emission:
    """One run of events into a publisher, by one thread; others may read its totals.

    After `finish`, `first_failed_line` is the first line whose delivery failed.
    """

    def __init__(self, publisher: EventPublisher, on_refused: Callable[[Refusal], None]) -> None:
        self._publisher = publisher
        self._on_refused = on_refused
        self._in_flight: deque[_SentBatch] = deque()
        self._accepted = 0
        self._refused = 0
        self._delivered = 0
        self._failed = 0
        self._next_line = 1
        self.first_failed_line: int | None = None

    @property
    def totals(self) -> Totals:
        """The counts so far."""
        return Totals(self._accepted, self._refused, self._delivered, self._failed)

    @property
    def stopped_because(self) -> str:
        """The failure that stops the emission; empty as long as there is none."""
        return "" if self._publisher.failure is None else str(self._publisher.failure)

    @property
    def next_line(self) -> int:
        """The line to continue from after `finish`: every line before was delivered or refused."""
        return self._next_line if self.first_failed_line is None else self.first_failed_line

    def offer(self, line: int, value: bytes | None) -> bool:
        """Check and send the event of one line; None stands for a line longer than an event may be.

        Returns:
            True if it was accepted. `totals` and `stopped_because` report its delivery.
        """
        accepted = self._accepted
        self.offer_all(line, [value])
        return self._accepted > accepted

    def offer_all(self, first_line: int, values: Sequence[bytes | None]) -> None:
        """Check and send the events of consecutive lines; empty ones are skipped.

        Nothing is sent after a delivery has failed.
        """
        self._publisher.wait_for_room()
        self.serve()
        if self.stopped_because:
            return
        lines: Sequence[int] = range(first_line, first_line + len(values))
        events = [value for value in values if value]
        if len(events) < len(values):
            refusals = [(line, TOO_LONG) for line, value in zip(lines, values, strict=True) if value is None]
            lines = [line for line, value in zip(lines, values, strict=True) if value]
        else:
            refusals = []
        batch = self._publisher.publish(events)
        refusals += [(lines[place], rejection) for place, rejection in batch.refusals]
        for line, rejection in sorted(refusals, key=_line):
            self._on_refused(Refusal(line, rejection.reason, rejection.sentence))
        self._accepted += batch.accepted
        self._refused += len(refusals)
        self._next_line = first_line + len(values)
        self._in_flight.append(_SentBatch(lines, batch))

    def serve(self, timeout_s: float = 0) -> None:
        """Process outcomes, waiting at most `timeout_s` for one."""
        self._publisher.serve(timeout_s)
        while self._in_flight and self._in_flight[0].batch.settled:
            self._settle(self._in_flight.popleft())

    def finish(self) -> None:
        """Wait until all outcomes are known; events that take too long are given up."""
        if self.stopped_because:
            self._publisher.stop_sending()
        self._publisher.finish()
        self.serve()

    def _settle(self, sent: _SentBatch) -> None:
        self._delivered += sent.batch.delivered
        self._failed += sent.batch.failed
        if sent.batch.failed and self.first_failed_line is None:
            self.first_failed_line = sent.lines[sent.batch.first_failed()]


def _line(refusal: tuple[int, Rejection]) -> int:
    return refusal[0]
