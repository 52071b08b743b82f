"""Metrics of the stream worker: every name in one place; docs/reference/metrics.md lists all services.

Dashboards, recording and alerting rules use these names, and are tested against this list.
"""

import collections
from bisect import bisect_left
from collections.abc import Iterable
from operator import attrgetter
from time import time
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from http_service.process_metrics import add_process_metrics
from metering.accounts import ALERT_AGE_MAX_MS
from metering.charges import UncoveredReason
from metering.events import CAPABILITIES
from metering.ledger import Entry, EntryKind
from metering.printable_text import one_line
from metering.records import RecordRange
from metering.refusals import QUOTA_EXHAUSTED_ERRNO
from metering.rejections import RejectionReason
from streams.batch_step import BatchPlan, PartitionProgress
from streams.health import Health
from streams.lag import Lag

MetricName = Literal[
    "phonemeter_worker_records_total",
    "phonemeter_worker_skipped_records_total",
    "phonemeter_worker_ledger_entries_total",
    "phonemeter_worker_uncovered_calls_total",
    "phonemeter_worker_refused_authorizations_total",
    "phonemeter_worker_dead_letters_total",
    "phonemeter_worker_wrong_partition_records_total",
    "phonemeter_worker_seeks_back_total",
    "phonemeter_worker_kafka_waits_total",
    "phonemeter_worker_publisher_renewals_total",
    "phonemeter_worker_restores_total",
    "phonemeter_worker_batch_records",
    "phonemeter_worker_batch_seconds",
    "phonemeter_worker_next_offset",
    "phonemeter_worker_newest_record_timestamp_seconds",
    "phonemeter_worker_accounts",
    "phonemeter_worker_duplicate_horizon_seconds",
    "phonemeter_worker_assigned_partitions",
    "phonemeter_worker_lag_records",
    "phonemeter_worker_lag_seconds",
    "phonemeter_worker_held_up_records",
    "phonemeter_worker_log_changed",
    "phonemeter_worker_event_loop_lag_seconds",
    "phonemeter_worker_rebalances_total",
    "phonemeter_worker_rebalance_seconds",
    "phonemeter_worker_commit_seconds",
    "phonemeter_worker_healthy",
]

LATENCY_S: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)
REBALANCE_S: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60)

SOURCES_MAX: Final = 20
"""Sources with a label of their own; all others share `OTHER_SOURCES`."""

OTHER_SOURCES: Final = "others"
_sources: Final[set[str]] = set()

REGISTRY: Final = CollectorRegistry()
add_process_metrics(REGISTRY)


def _counter(name: MetricName, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _gauge(name: MetricName, meaning: str, *labels: str) -> Gauge:
    return Gauge(name, meaning, labels, registry=REGISTRY)


def _histogram(name: MetricName, meaning: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, meaning, buckets=buckets, registry=REGISTRY)


RECORDS: Final = _counter(
    "phonemeter_worker_records_total", "Records of phone-events that were metered", "partition"
)
SKIPPED: Final = _counter(
    "phonemeter_worker_skipped_records_total",
    "Records delivered again although the state had them: after restarts and rebalances",
    "partition",
)
ENTRIES: Final = _counter(
    "phonemeter_worker_ledger_entries_total",
    "Ledger entries published, by kind; duplicates are one of the kinds",
    "kind",
)
UNCOVERED: Final = _counter(
    "phonemeter_worker_uncovered_calls_total",
    "Calls that neither the trial quota nor a pack covered, by reason",
    "reason",
)
REFUSED: Final = _counter(
    "phonemeter_worker_refused_authorizations_total",
    "Authorizations that the platform refused (errno 1400001) within a day before their arrival",
    "capability",
)
DEAD_LETTERS: Final = _counter(
    "phonemeter_worker_dead_letters_total", "Records that are no events, by reason", "reason"
)
WRONG_PARTITION: Final = _counter(
    "phonemeter_worker_wrong_partition_records_total",
    "Records refused because their key belongs to another partition, by the source of their events",
    "source",
)
SEEKS_BACK: Final = _counter(
    "phonemeter_worker_seeks_back_total",
    "Deliveries that left records out; the worker went back for them",
    "partition",
)
KAFKA_WAITS: Final = _counter(
    "phonemeter_worker_kafka_waits_total",
    "Times that Kafka had not answered, or not confirmed what was published, and the worker waited on",
)
PUBLISHER_RENEWALS: Final = _counter(
    "phonemeter_worker_publisher_renewals_total",
    "Times that nothing was confirmed for so long that what was open was given up and metered again",
)
RESTORES: Final = _counter(
    "phonemeter_worker_restores_total",
    "Times a partition's state was read back from the state topic",
    "partition",
)
BATCH_RECORDS: Final = _histogram(
    "phonemeter_worker_batch_records", "Records per batch", (1, 10, 100, 1_000, 5_000, 20_000)
)
BATCH_SECONDS: Final = _histogram(
    "phonemeter_worker_batch_seconds", "From a batch's delivery to its header's acknowledgement", LATENCY_S
)
NEXT_OFFSET: Final = _gauge(
    "phonemeter_worker_next_offset", "Offset of phone-events that is metered next", "partition"
)
NEWEST_RECORD_SECONDS: Final = _gauge(
    "phonemeter_worker_newest_record_timestamp_seconds",
    "Broker time of the newest metered record, in seconds since 1970",
    "partition",
)
ACCOUNTS: Final = _gauge("phonemeter_worker_accounts", "Apps known", "partition")
DUPLICATE_HORIZON: Final = _gauge(
    "phonemeter_worker_duplicate_horizon_seconds",
    "Age of the horizon back to which repeated events are recognised; not there while no id was forgotten",
    "partition",
)
LOG_CHANGED: Final = _gauge(
    "phonemeter_worker_log_changed",
    "1 where phone-events is not the log that was metered before; the worker stops",
    "partition",
)
ASSIGNED_PARTITIONS: Final = _gauge(
    "phonemeter_worker_assigned_partitions", "Partitions of phone-events that the group gave this worker"
)
EVENT_LOOP_LAG: Final = _histogram(
    "phonemeter_worker_event_loop_lag_seconds",
    "How late the event loop was; metering a batch blocks it",
    LATENCY_S,
)
REBALANCES: Final = _counter(
    "phonemeter_worker_rebalances_total", "Rebalances of the consumer group, as Faust counts them"
)
REBALANCE_SECONDS: Final = _histogram(
    "phonemeter_worker_rebalance_seconds", "From the beginning of a rebalance to its end", REBALANCE_S
)
COMMIT_SECONDS: Final = _histogram(
    "phonemeter_worker_commit_seconds", "Seconds per commit of offsets to Kafka", LATENCY_S
)
LAG: Final = Lag(
    "phonemeter_worker_lag_records", "phonemeter_worker_lag_seconds", "phonemeter_worker_held_up_records"
)
REGISTRY.register(LAG)
HEALTH: Final = Health("phonemeter_worker_healthy", LAG)
REGISTRY.register(HEALTH)


# Prometheus does not see the first increment of a counter that is not there before it.
for _kind in get_args(EntryKind):
    ENTRIES.labels(_kind)
for _reason in get_args(RejectionReason):
    DEAD_LETTERS.labels(_reason)
for _reason in get_args(UncoveredReason):
    UNCOVERED.labels(_reason)
for _capability in CAPABILITIES:
    REFUSED.labels(_capability)


def observe_assignment(partitions: Iterable[int]) -> None:
    """Set the assigned partitions; gauges of other partitions are removed."""
    assigned = set(partitions)
    ASSIGNED_PARTITIONS.set(len(assigned))
    for partition in assigned:
        SEEKS_BACK.labels(partition)
    for partition in LAG.assign(assigned):
        for gauge in (NEXT_OFFSET, NEWEST_RECORD_SECONDS, ACCOUNTS, DUPLICATE_HORIZON, LOG_CHANGED):
            gauge.remove_by_labels({"partition": str(partition)})


def observe_batch(
    partition: int, batch: RecordRange, before: PartitionProgress, plan: BatchPlan, seconds: float
) -> None:
    """Count a batch that was metered; its records that were in the state before were skipped."""
    state = plan.after.state
    new = len(batch) - bisect_left(batch, before.state.next_offset, key=attrgetter("offset"))
    RECORDS.labels(partition).inc(new)
    SKIPPED.labels(partition).inc(len(batch) - new)
    BATCH_RECORDS.observe(new)
    BATCH_SECONDS.observe(seconds)
    NEXT_OFFSET.labels(partition).set(state.next_offset)
    newest_ms = batch[-1].recorded_at_ms or 0 if batch else None
    LAG.advance(partition, state.next_offset, newest_ms)
    if newest_ms is not None:
        NEWEST_RECORD_SECONDS.labels(partition).set(newest_ms / 1_000)
    ACCOUNTS.labels(partition).set(len(state.accounts))
    if state.ids.horizon_ms:
        DUPLICATE_HORIZON.labels(partition).set(time() - state.ids.horizon_ms / 1_000)
    kinds = collections.Counter(map(attrgetter("kind"), plan.metered.entries))
    for kind, count in kinds.items():
        ENTRIES.labels(kind).inc(count)
    if kinds["uncovered"]:
        for entry in plan.metered.entries:
            if entry.kind == "uncovered" and entry.calls > 0 and entry.reason != "settled":
                UNCOVERED.labels(entry.reason).inc()
    if kinds["failed"]:
        _observe_refusals(plan.metered.entries)
    for letter in plan.metered.dead_letters:
        DEAD_LETTERS.labels(letter.reason).inc()
    if kinds["rejection"]:
        _observe_sources(plan.metered.entries)


def _observe_refusals(entries: Iterable[Entry]) -> None:
    """Count refusals by the platform, without those of imported history."""
    for entry in entries:
        if entry.kind != "failed" or entry.errno != QUOTA_EXHAUSTED_ERRNO:
            continue
        if entry.recorded_at_ms - entry.time_ms <= ALERT_AGE_MAX_MS:
            REFUSED.labels(entry.capability).inc()


def _observe_sources(entries: Iterable[Entry]) -> None:
    """Count records in a wrong partition by source, a name that producers choose freely."""
    for entry in entries:
        if entry.reason == "wrong_partition":
            source = one_line(entry.source)
            if len(_sources) < SOURCES_MAX:
                _sources.add(source)
            WRONG_PARTITION.labels(source if source in _sources else OTHER_SOURCES).inc()
