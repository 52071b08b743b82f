"""Counts of the deliveries of owned partitions, for metrics and health. Pure."""

from collections.abc import Collection
from typing import NamedTuple

from sinks.notifier.deliveries import Deliveries


class DeliveryCounts(NamedTuple):
    """Counts of open alerts, dead deliveries and disabled routes, and the time of the oldest open alert."""

    open: int = 0
    dead: int = 0
    disabled: int = 0
    oldest_due_ms: int | None = None


def count(partitions: Collection[Deliveries]) -> DeliveryCounts:
    """Count the deliveries of partitions."""
    due = (oldest_due_ms(deliveries) for deliveries in partitions)
    return DeliveryCounts(
        sum(open_alerts(deliveries) for deliveries in partitions),
        sum(len(deliveries.dead_deliveries()) for deliveries in partitions),
        sum(len(deliveries.disabled_routes) for deliveries in partitions),
        min((due_ms for due_ms in due if due_ms is not None), default=None),
    )


def open_alerts(deliveries: Deliveries) -> int:
    """Number of alerts of a partition that are to be delivered and are not yet."""
    pending = sum(1 for alert_id, _ in deliveries.pending if not deliveries.is_acknowledged(alert_id))
    return pending + sum(len(delivery.alerts) for delivery in deliveries.open_deliveries())


def oldest_due_ms(deliveries: Deliveries) -> int | None:
    """The time since which the oldest open alert of a partition has been due."""
    due = [
        request.due_ms
        for (alert_id, _), request in deliveries.pending.items()
        if not deliveries.is_acknowledged(alert_id)
    ]
    due += [delivery.since_ms for delivery in deliveries.open_deliveries()]
    return min(due, default=None)
