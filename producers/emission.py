"""Emitting many events: each is accepted or refused by itself, and each accepted one is delivered or failed.

A refused event never stops the others. A failed delivery does: what comes after it could overtake it.
"""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, Final, Literal, NamedTuple, Protocol

from metering.events import VALUE_BYTES_MAX, Rejection, RejectionReason
from producers.client import OnSettled, wall_clock_ms
from producers.errors import DeliveryError, RefusedError
from producers.events import refusal

UTF8_BOM: Final = b"\xef\xbb\xbf"
TOO_LONG: Final = Rejection(
    "too_large", f"The line has more than the {VALUE_BYTES_MAX} bytes allowed for an event."
)


class Line(NamedTuple):
    """One line of a stream: its `value` without the line's end, None when longer than an event may be."""

    number: int
    value: bytes | None
    bytes_read: int


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
    """What emitting needs of a producer."""

    def publish(self, event: bytes, on_settled: OnSettled | None = None) -> object:
        """Check one event and send it; raises as `EventProducer.publish`."""

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait for the outcome of all; raises as `EventProducer.flush`."""


class DryRun:
    """A publisher that only checks."""

    def __init__(self, *, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._now_ms = now_ms

    def publish(self, event: bytes, on_settled: OnSettled | None = None) -> None:  # noqa: ARG002 - nothing is delivered
        """Check one event."""
        rejection = refusal(event, now_ms=self._now_ms())
        if rejection is not None:
            raise RefusedError(rejection)

    def flush(self, timeout_s: float | None = None) -> None:
        """Nothing is on its way."""


class Emission:
    """One run of events into a publisher, with its totals. `offer` and `finish` belong to one thread."""

    def __init__(self, publisher: Publisher, on_refused: Callable[[Refusal], None]) -> None:
        self._publisher = publisher
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._accepted = 0
        self._refused = 0
        self._delivered = 0
        self._failed = 0
        self._first_failed_line: int | None = None
        self._failure = ""

    @property
    def totals(self) -> Totals:
        """The counts so far."""
        with self._lock:
            return Totals(self._accepted, self._refused, self._delivered, self._failed)

    @property
    def stopped_because(self) -> str:
        """Why no more can be offered; empty as long as all is well."""
        return self._failure

    @property
    def first_failed_line(self) -> int | None:
        """The first line whose event was accepted and is not known to be delivered."""
        return self._first_failed_line

    def offer(self, line: int, value: bytes | None) -> bool:
        """Check and send the event of one line; None stands for a line longer than an event may be.

        Returns:
            Whether it was accepted. Its delivery is told by `totals` and `stopped_because`.
        """
        if value is None:
            return self._refuse(line, TOO_LONG)
        try:
            self._publisher.publish(value, partial(self._settled, line))
        except RefusedError as error:
            return self._refuse(line, error.rejection)
        except DeliveryError as error:
            self._settled(line, error)
        self._accepted += 1
        return True

    def finish(self) -> None:
        """Wait until the outcome of all is known or the time for it is over."""
        try:
            self._publisher.flush()
        except DeliveryError as error:
            self._failure = self._failure or str(error)

    def _refuse(self, line: int, rejection: Rejection) -> Literal[False]:
        self._refused += 1
        self._on_refused(Refusal(line, rejection.reason, rejection.sentence))
        return False

    def _settled(self, line: int, failure: DeliveryError | None) -> None:
        with self._lock:
            if failure is None:
                self._delivered += 1
                return
            self._failed += 1
            self._failure = self._failure or str(failure)
            if self._first_failed_line is None or line < self._first_failed_line:
                self._first_failed_line = line


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """The lines of a stream that hold something, in bounded memory however long a line is."""
    number = 0
    bytes_read = 0
    while chunk := stream.readline(VALUE_BYTES_MAX + 2):
        number += 1
        bytes_read += len(chunk)
        value = chunk.removeprefix(UTF8_BOM).strip() if number == 1 else chunk.strip()
        too_long = len(value) > VALUE_BYTES_MAX
        while not chunk.endswith(b"\n") and (chunk := stream.readline(VALUE_BYTES_MAX)):
            bytes_read += len(chunk)
            too_long = too_long or bool(chunk.strip())
        if value or too_long:
            yield Line(number, None if too_long else value, bytes_read)
