"""Counts of the deliveries of owned partitions, for metrics and health. Pure."""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from metering.alerts import RECIPIENT
from sinks.notifier.deliveries import Deliveries


class DeliveryCounts(NamedTuple):
    """Counts of deliveries, and the time of the oldest open alert.

    Attributes:
        open: alerts that are to be delivered and are not yet.
        dead: deliveries that were given up, without those to recipients of owners.
        dead_recipients: those to recipients of owners, who see and mend them.
        disabled: routes that their receivers have disabled.
        oldest_due_ms: of the oldest open alert, without those to recipients of owners.
    """

    open: int = 0
    dead: int = 0
    dead_recipients: int = 0
    disabled: int = 0
    oldest_due_ms: int | None = None


def count(partitions: Collection[Deliveries]) -> DeliveryCounts:
    """Count the deliveries of partitions."""
    due = (oldest_due_ms(deliveries) for deliveries in partitions)
    dead = Counter(
        delivery.route.startswith(RECIPIENT)
        for deliveries in partitions
        for delivery in deliveries.dead_deliveries()
    )
    return DeliveryCounts(
        sum(open_alerts(deliveries) for deliveries in partitions),
        dead[False],
        dead[True],
        sum(len(deliveries.disabled_routes) for deliveries in partitions),
        min((due_ms for due_ms in due if due_ms is not None), default=None),
    )


def open_alerts(deliveries: Deliveries) -> int:
    """Number of alerts of a partition that are to be delivered and are not yet."""
    pending = sum(1 for alert_id, _ in deliveries.pending if not deliveries.is_acknowledged(alert_id))
    return pending + sum(len(delivery.alerts) for delivery in deliveries.open_deliveries())


def oldest_due_ms(deliveries: Deliveries) -> int | None:
    """The time since which the oldest open alert of a partition has been due, on a route of the file."""
    due = [
        request.due_ms
        for (alert_id, route), request in deliveries.pending.items()
        if not deliveries.is_acknowledged(alert_id) and not route.startswith(RECIPIENT)
    ]
    due += [
        delivery.since_ms
        for delivery in deliveries.open_deliveries()
        if not delivery.route.startswith(RECIPIENT)
    ]
    return min(due, default=None)
