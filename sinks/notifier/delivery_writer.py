"""The records of a notifier on `phone-deliveries` about deliveries: fences, next steps, outcomes."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from sinks.notifier import planning
from sinks.notifier.attempts import Attempts
from sinks.notifier.kafka_log import DeliveriesPublisher
from sinks.notifier.metrics import Metrics
from sinks.notifier.owned_partition import OwnedPartition
from sinks.notifier.planning import AttemptLimits
from sinks.notifier.records import AnyRouteRecord, Delivery, DeliveryOutput, partition_of
from sinks.notifier.routes import Routes

log = logging.getLogger(__name__)

_OUTCOMES: Final = {"delivered": "delivered", "waiting": "failed", "dead": "dead"}


class DeliveryWriter:
    """Publishes what an owned partition and the outcomes of attempts require, and reports it."""

    def __init__(
        self,
        publisher: DeliveriesPublisher,
        partitions: int,
        limits: AttemptLimits,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._publisher = publisher
        self._partitions = partitions
        self._limits = limits
        self._metrics = metrics
        self._now_ms = now_ms

    def fence(self, partition: OwnedPartition) -> None:
        """Publish the fence of a partition, once."""
        if not partition.fence_published:
            self._publisher.publish([partition.fence(self._now_ms())])
            partition.fence_published = True

    def advance(
        self, partition: OwnedPartition, routes: Routes | None, under_way: Mapping[str, Delivery]
    ) -> None:
        """Publish removals, repairs and next steps of an active partition."""
        now_ms = self._now_ms()
        removals = partition.removals(now_ms)
        if removals:
            self._publisher.publish(removals)
        repairs = partition.repairs(now_ms)
        if repairs:
            self._publisher.publish(list(repairs.values()))
            for delivery_id in repairs:
                partition.note_published(delivery_id, now_ms)
        steps = partition.next_steps(routes, under_way, self._limits, now_ms)
        if not steps:
            return
        self._publisher.publish([DeliveryOutput.of(step, partition.number) for step in steps])
        for step in steps:
            partition.note_published(step.id, now_ms)
            if step.state == "sending":
                partition.note_attempt(step, now_ms)
            elif partition.deliveries.by_id.get(step.id) != step:
                self._report(step)

    def record_outcomes(self, attempts: Attempts, owned: Mapping[int, OwnedPartition]) -> None:
        """Publish the outcomes that have come in, also those of partitions that were revoked meanwhile.

        Raises:
            KafkaError: they were not published, and are published next time.
        """
        attempts.collect()
        finished = attempts.unrecorded
        if not finished:
            return
        now_ms = self._now_ms()
        deliveries = [planning.conclude(one.delivery, one.outcome, self._limits, now_ms) for one in finished]
        records: list[AnyRouteRecord] = []
        for one, delivery in zip(finished, deliveries, strict=True):
            records.append(delivery)
            if one.outcome.gone:
                records.append(planning.disable_route(delivery, one.outcome, now_ms))
        self._publisher.publish([DeliveryOutput.of_route(record, self._partitions) for record in records])
        for one, delivery in zip(finished, deliveries, strict=True):
            self._report(delivery, one.seconds)
            partition = owned.get(partition_of(delivery.route, self._partitions))
            if partition is not None:
                partition.note_published(delivery.id, now_ms)
        attempts.mark_recorded()

    def _report(self, delivery: Delivery, seconds: float | None = None) -> None:
        """Report a delivery after an attempt that took `seconds`, or after it ended without one."""
        self._metrics.attempts.labels(delivery.channel, _OUTCOMES[delivery.state]).inc()
        if seconds is not None:
            self._metrics.attempt_seconds.labels(delivery.channel).observe(seconds)
        attempt, reason = delivery.attempt, delivery.reason
        if delivery.state == "delivered":
            log.info("%s: delivered at attempt %d (%s).", delivery.id, attempt, reason)
        elif delivery.state == "waiting":
            pause_s = (delivery.due_ms - delivery.at_ms) / 1_000
            log.warning(
                "%s: attempt %d failed (%s); the next one in %.0f s.", delivery.id, attempt, reason, pause_s
            )
        else:
            log.error(
                "%s: given up at attempt %d (%s); see phonemeter alerts list --dead.",
                delivery.id,
                attempt,
                reason,
            )
