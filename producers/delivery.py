"""The outcome of a published event, for threads that wait, coroutines that await, and callbacks."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import NamedTuple

from producers.errors import DeliveryError, UnavailableError


class Place(NamedTuple):
    """The place of a stored event in `phone-events`."""

    partition: int
    offset: int


OnSettled = Callable[[DeliveryError | None], None]
"""A callback, once per event, from the sending thread: None if delivered, else the failure. Must be quick."""

DeliveryOutcome = tuple[Place, ...] | DeliveryError
"""The places of a delivered event, as far as they are known, or the failure."""


class Delivery:
    """The outcome of one published event, now or later. Threads and coroutines may share it.

    Cancelling a coroutine that awaits it cancels nothing else: the event is sent all the same.
    """

    __slots__ = ("_known_at_s", "_outcome")

    def __init__(self, within_s: float) -> None:
        self._known_at_s = time.monotonic() + within_s
        self._outcome: Future[DeliveryOutcome] = Future()
        # Nobody may cancel it from now on.
        self._outcome.set_running_or_notify_cancel()

    @property
    def done(self) -> bool:
        """True if the outcome is known."""
        return self._outcome.done()

    def result(self, timeout_s: float | None = None) -> Place | None:
        """Wait for the outcome: the place of the event, of a clock tick the first one.

        None stands for a place that is not known: the gateway does not tell it.

        Raises:
            DeliveryError: the event was not delivered, or its outcome is not known within `timeout_s`; by
                default that is the time for which delivering it is tried.
        """
        return next(iter(self.places(timeout_s)), None)

    def places(self, timeout_s: float | None = None) -> tuple[Place, ...]:
        """Wait as `result` does; one place per partition: a clock tick goes to all of them."""
        left_s = self._known_at_s - time.monotonic() if timeout_s is None else timeout_s
        try:
            outcome = self._outcome.result(max(0.0, left_s))
        except TimeoutError:
            raise UnavailableError(
                "The outcome of the event is not known yet. It may be stored all the same: publish the same "
                "event again, its id keeps it one call."
            ) from None
        if isinstance(outcome, DeliveryError):
            raise outcome
        return outcome

    def __await__(self) -> Generator[object, None, Place | None]:
        """Await the outcome; returns and raises as `result` does."""
        if not self.done:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()

            def tell() -> None:
                if not waiter.done():
                    waiter.set_result(None)

            def wake(_: object) -> None:
                # A loop that is closed has nobody who waits.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(tell)

            self._outcome.add_done_callback(wake)
            yield from waiter
        return self.result(0)

    def settle(self, outcome: DeliveryOutcome) -> None:
        """Note the outcome; once."""
        self._outcome.set_result(outcome)
