"""A partition of `phone-deliveries` that this notifier was assigned.

Fencing: a notifier that was paused, or cut off from the broker, may have been replaced without knowing it.
Such a zombie must not deliver. The broker rejects commits of an old generation of the consumer group, but not
records that are published, so generations do not stop it. Instead each assignment of a partition is an epoch,
which begins with a `Fence` with a random owner id, published on the partition itself. A notifier publishes
that it begins an attempt, and makes it only when it has read that record back behind its own fence and before
any other. So two notifiers never both make an attempt, and one that ends at any point leaves the state of its
deliveries in the log.

What fencing by the log cannot catch is a pause between that reading and the sending. Therefore an attempt
begins within `planning.STALE_AFTER_MS` of its record or not at all, and is taken for interrupted only after
that time and its timeout.
"""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from sinks.notifier import planning
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.planning import AttemptLimits
from sinks.notifier.records import (
    Delivery,
    DeliveryOutput,
    Fence,
    decode,
    delivery_key,
    key_of,
    request_key,
)
from sinks.notifier.routes import Routes

UNREAD_MS_MAX: Final = 15_000
"""Age at which a published record that was not read back is considered lost."""

EXPIRED_MAX: Final = 1_000
"""Deliveries whose records are removed at a time."""

REMOVAL_PAUSE_MS: Final = 60_000
"""Time between two removals: a partition may stay with its owner for months."""


class OwnedPartition:
    """One epoch of a partition: its state as read, and what is not read back yet. It does no I/O."""

    def __init__(self, number: int, owner: str = "") -> None:
        self.number = number
        self.owner = owner or uuid.uuid4().hex
        self.deliveries = Deliveries()
        self.fence_published = False
        self._removals_due_ms = 0
        self._unread: dict[str, int] = {}
        self._last_began_ms: dict[str, int] = {}

    @property
    def is_active(self) -> bool:
        """Return whether the own fence was read, and none behind it."""
        return self.deliveries.owner == self.owner

    @property
    def has_unread(self) -> bool:
        """Return whether published records are still to be read back."""
        return bool(self._unread)

    def read(self, key: bytes, value: bytes | None) -> Delivery | None:
        """Apply a record of the log; return the delivery if it begins an attempt that is ours to make.

        Raises:
            ValueError: the value is not a record of the notifier.
        """
        if value is None:
            self._unread.pop(self.deliveries.erase(key), None)
            return None
        record = decode(value)
        delivery = self.deliveries.apply(record)
        if isinstance(record, Delivery):
            self._unread.pop(record.id, None)
        if delivery is not None and self.is_active and delivery.owner == self.owner:
            return delivery
        return None

    def note_published(self, delivery_id: str, now_ms: int) -> None:
        """Take note that a record of a delivery was published, which is to be read back."""
        self._unread[delivery_id] = now_ms

    def note_attempt(self, delivery: Delivery, now_ms: int) -> None:
        """Take note of the beginning of an attempt, for the pace of its route."""
        self._last_began_ms[delivery.route] = now_ms

    def fence(self, now_ms: int) -> DeliveryOutput:
        """The record that begins the epoch."""
        return DeliveryOutput.of(Fence(at_ms=now_ms, owner=self.owner), self.number)

    def removals(self, now_ms: int) -> list[DeliveryOutput]:
        """The removals of the records of expired deliveries; none until the next are due."""
        if now_ms < self._removals_due_ms:
            return []
        self._removals_due_ms = now_ms + REMOVAL_PAUSE_MS
        expired = list(planning.expired_deliveries(self.deliveries, now_ms))[:EXPIRED_MAX]
        keys = [key_of(delivery) for delivery in expired]
        keys += [
            request_key(alert_id, delivery.route) for delivery in expired for alert_id in delivery.alerts
        ]
        return [DeliveryOutput(self.number, key, None) for key in keys]

    def repairs(self, now_ms: int) -> dict[str, DeliveryOutput]:
        """The valid records of deliveries whose newest record is void, or its removal, by id."""
        found = {}
        for delivery_id in self.deliveries.overwritten:
            if self._is_read_back(delivery_id, now_ms):
                valid = planning.valid_record(self.deliveries, delivery_id)
                found[delivery_id] = (
                    DeliveryOutput(self.number, delivery_key(delivery_id), None)
                    if valid is None
                    else DeliveryOutput.of(valid, self.number)
                )
        return found

    def next_steps(
        self, routes: Routes | None, under_way: Mapping[str, Delivery], limits: AttemptLimits, now_ms: int
    ) -> list[Delivery]:
        """The records of deliveries to publish now: interrupted, given up, or with an attempt to begin."""
        steps = self._steps(routes, under_way, limits, now_ms)
        return [delivery for delivery in steps if self._is_read_back(delivery.id, now_ms)]

    def _steps(
        self, routes: Routes | None, under_way: Mapping[str, Delivery], limits: AttemptLimits, now_ms: int
    ) -> Iterator[Delivery]:
        deliveries = self.deliveries
        yield from planning.interrupted_attempts(deliveries, frozenset(under_way), limits, now_ms)
        if routes is None:
            return
        by_name = routes.by_name
        recipients_known = routes.recipients is not None
        yield from planning.deliveries_to_give_up(
            deliveries, by_name, now_ms, recipients_known=recipients_known
        )
        per_route = Counter(delivery.route for delivery in under_way.values())
        for delivery in planning.attempts_to_begin(
            deliveries, by_name, per_route, self._last_began_ms, now_ms
        ):
            if delivery.id not in under_way:
                yield delivery

    def _is_read_back(self, delivery_id: str, now_ms: int) -> bool:
        """Return whether every record that was published of a delivery was read back, or is lost."""
        return now_ms - self._unread.get(delivery_id, now_ms - UNREAD_MS_MAX) >= UNREAD_MS_MAX
