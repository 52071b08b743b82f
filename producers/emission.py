"""Emitting many events: each is accepted or refused by itself, and each accepted one is delivered or failed.

A refused event never stops the others. A failed delivery does: what comes after it could overtake it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from metering.events import VALUE_BYTES_MAX, Rejection, RejectionReason
from producers.batch import Batch
from producers.checking import check
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError

TOO_LONG: Final = Rejection(
    "too_large", f"The line has more than the {VALUE_BYTES_MAX} bytes allowed for an event."
)


class Refusal(NamedTuple):
    """Why the event of a line was not sent."""

    line: int
    reason: RejectionReason
    sentence: str


class Totals(NamedTuple):
    """What became of the events so far; those accepted and neither delivered nor failed are on their way."""

    accepted: int
    refused: int
    delivered: int
    failed: int


class Publisher(Protocol):
    """What emitting needs of `producers.bulk.BulkProducer`."""

    @property
    def failure(self) -> DeliveryError | None:
        """Why the first event that was not delivered was not."""

    def wait_for_room(self) -> None:
        """Wait until something may be published."""

    def publish(self, values: Sequence[bytes]) -> Batch:
        """Check events and send them."""

    def serve(self, timeout_s: float = 0) -> None:
        """Let outcomes in."""

    def stop_sending(self) -> None:
        """Give up what has not left this process."""

    def finish(self) -> None:
        """Wait for the outcome of all."""


class DryRun:
    """A publisher that only checks."""

    failure: DeliveryError | None = None

    def __init__(self, *, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._now_ms = now_ms

    def publish(self, values: Sequence[bytes]) -> Batch:
        """Check events."""
        batch = Batch(values)
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
        """There always is."""

    def serve(self, timeout_s: float = 0) -> None:
        """Nothing is on its way."""

    def stop_sending(self) -> None:
        """Nothing was sent."""

    def finish(self) -> None:
        """Nothing is on its way."""


class _OnItsWay(NamedTuple):
    lines: Sequence[int]
    batch: Batch


class Emission:
    """One run of events into a publisher, by one thread; others may read its totals."""

    def __init__(self, publisher: Publisher, on_refused: Callable[[Refusal], None]) -> None:
        self._publisher = publisher
        self._on_refused = on_refused
        self._on_their_way: deque[_OnItsWay] = deque()
        self._accepted = 0
        self._refused = 0
        self._delivered = 0
        self._failed = 0
        self._next_line = 1
        self._first_failed_line: int | None = None

    @property
    def totals(self) -> Totals:
        """The counts so far."""
        return Totals(self._accepted, self._refused, self._delivered, self._failed)

    @property
    def stopped_because(self) -> str:
        """Why no more can be offered; empty as long as all is well."""
        return "" if self._publisher.failure is None else str(self._publisher.failure)

    @property
    def first_failed_line(self) -> int | None:
        """The first line that was accepted and is not known to be delivered, once `finish` is through."""
        return self._first_failed_line

    @property
    def next_line(self) -> int:
        """Where to go on after `finish`: every line before was delivered or refused."""
        return self._next_line if self._first_failed_line is None else self._first_failed_line

    def offer(self, line: int, value: bytes | None) -> bool:
        """Check and send the event of one line; None stands for a line longer than an event may be.

        Returns:
            Whether it was accepted. Its delivery is told by `totals` and `stopped_because`.
        """
        accepted = self._accepted
        self.offer_all(line, [value])
        return self._accepted > accepted

    def offer_all(self, first_line: int, values: Sequence[bytes | None]) -> None:
        """Check and send the events of lines in a row; empty ones are passed over.

        Nothing is sent any more once a delivery has failed.
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
        self._on_their_way.append(_OnItsWay(lines, batch))

    def serve(self, timeout_s: float = 0) -> None:
        """Let outcomes in, waiting at most so long for one."""
        self._publisher.serve(timeout_s)
        while self._on_their_way and self._on_their_way[0].batch.settled:
            self._settle(self._on_their_way.popleft())

    def finish(self) -> None:
        """Wait until the outcome of all is known, or the time for it is over and it is given up."""
        if self.stopped_because:
            self._publisher.stop_sending()
        self._publisher.finish()
        self.serve()

    def _settle(self, sent: _OnItsWay) -> None:
        self._delivered += sent.batch.delivered
        self._failed += sent.batch.failed
        if sent.batch.failed and self._first_failed_line is None:
            self._first_failed_line = sent.lines[sent.batch.first_failed()]


def _line(refusal: tuple[int, Rejection]) -> int:
    return refusal[0]
