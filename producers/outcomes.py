"""The outcomes of events by their identity: of an event that was published again, the final one counts."""

from typing import NamedTuple

from producers.errors import DeliveryError

Identity = tuple[str, str]
"""The subject and the id of an event."""


class Failures(NamedTuple):
    """The number of events that were not delivered, and the reason of the first of them."""

    events: int
    first: DeliveryError | None


class _Attempts:
    __slots__ = ("delivered", "failure", "open")

    def __init__(self) -> None:
        self.open = 0
        self.delivered = False
        self.failure: DeliveryError | None = None


class Outcomes:
    """The events in flight, and those that failed. The caller holds a lock.

    The caller's buffer bounds the events in flight; at most `failed_max` failed ones are kept by identity,
    the others are only counted.
    """

    def __init__(self, failed_max: int = 100_000) -> None:
        self._failed_max = failed_max
        self._in_flight: dict[Identity, _Attempts] = {}
        self._failed: dict[Identity, DeliveryError] = {}
        self._more_failed = 0

    def begin(self, event: Identity) -> None:
        """Note that an event is published, for the first time or again."""
        self._in_flight.setdefault(event, _Attempts()).open += 1

    def settle(self, event: Identity, failure: DeliveryError | None) -> None:
        """Note the end of an attempt. One confirmed attempt is a delivery, in whatever order they end."""
        attempts = self._in_flight[event]
        attempts.open -= 1
        attempts.delivered = attempts.delivered or failure is None
        attempts.failure = attempts.failure or failure
        if attempts.open:
            return
        del self._in_flight[event]
        if attempts.delivered:
            self._failed.pop(event, None)
        elif attempts.failure is not None and event not in self._failed:
            self._keep(event, attempts.failure)

    def take_failures(self) -> Failures:
        """Return the events that have failed since the last call, and forget them."""
        failures = Failures(len(self._failed) + self._more_failed, next(iter(self._failed.values()), None))
        self._failed.clear()
        self._more_failed = 0
        return failures

    def _keep(self, event: Identity, failure: DeliveryError) -> None:
        if len(self._failed) < self._failed_max:
            self._failed[event] = failure
        else:
            self._more_failed += 1
