"""What the stream worker tells Prometheus: every name in one place; docs/metrics.md shows all of them.

The names are the interface of dashboards, recording and alerting rules, which are tested against this list.
"""

import collections
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from metering.charging import UncoveredReason
from metering.events import RejectionReason
from metering.ledger import EntryKind
from metering.partition import Record
from streams.batch_step import BatchWork, Held
from streams.lag import Lag

MetricName = Literal[
    "phonemeter_worker_records_total",
    "phonemeter_worker_skipped_records_total",
    "phonemeter_worker_ledger_entries_total",
    "phonemeter_worker_uncovered_calls_total",
    "phonemeter_worker_dead_letters_total",
    "phonemeter_worker_seeks_back_total",
    "phonemeter_worker_kafka_waits_total",
    "phonemeter_worker_restores_total",
    "phonemeter_worker_batch_records",
    "phonemeter_worker_batch_seconds",
    "phonemeter_worker_next_offset",
    "phonemeter_worker_newest_record_timestamp_seconds",
    "phonemeter_worker_accounts",
    "phonemeter_worker_assigned_partitions",
    "phonemeter_worker_lag_records",
    "phonemeter_worker_lag_seconds",
    "phonemeter_worker_event_loop_lag_seconds",
    "phonemeter_worker_rebalances_total",
    "phonemeter_worker_rebalance_seconds",
    "phonemeter_worker_commit_seconds",
]

LATENCY_S: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)
REBALANCE_S: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60)

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


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
DEAD_LETTERS: Final = _counter(
    "phonemeter_worker_dead_letters_total", "Records that are no events, by reason", "reason"
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
ASSIGNED_PARTITIONS: Final = _gauge(
    "phonemeter_worker_assigned_partitions", "Partitions of phone-events that the group gave this worker"
)
EVENT_LOOP_LAG: Final = _histogram(
    "phonemeter_worker_event_loop_lag_seconds",
    "How late the event loop was when it was due; metering a batch holds it",
    LATENCY_S,
)
REBALANCES: Final = _counter(
    "phonemeter_worker_rebalances_total", "Times the group was divided anew, as Faust tells it"
)
REBALANCE_SECONDS: Final = _histogram(
    "phonemeter_worker_rebalance_seconds", "From the begin of a rebalance to its end", REBALANCE_S
)
COMMIT_SECONDS: Final = _histogram(
    "phonemeter_worker_commit_seconds", "Seconds per commit of offsets to Kafka", LATENCY_S
)
LAG: Final = Lag("phonemeter_worker_lag_records", "phonemeter_worker_lag_seconds")
REGISTRY.register(LAG)


# A counter that is not there before its first increment hides that one from Prometheus.
for _kind in get_args(EntryKind):
    ENTRIES.labels(_kind)
for _reason in get_args(RejectionReason):
    DEAD_LETTERS.labels(_reason)
for _reason in get_args(UncoveredReason):
    UNCOVERED.labels(_reason)


def assigned(partitions: Iterable[int]) -> None:
    """Take note of what this worker owns now; what it owned before is not reported any more."""
    owned = set(partitions)
    ASSIGNED_PARTITIONS.set(len(owned))
    for partition in owned:
        SEEKS_BACK.labels(partition)
    for partition in LAG.keep_only(owned):
        for gauge in (NEXT_OFFSET, NEWEST_RECORD_SECONDS, ACCOUNTS):
            gauge.remove_by_labels({"partition": str(partition)})


def observe_batch(
    partition: int, batch: Sequence[Record], held: Held, work: BatchWork, seconds: float
) -> None:
    """Take note of a batch that was carried out: of its records, those behind `held` were skipped."""
    state = work.after.state
    new = state.next_offset - held.state.next_offset
    RECORDS.labels(partition).inc(new)
    SKIPPED.labels(partition).inc(len(batch) - new)
    BATCH_RECORDS.observe(new)
    BATCH_SECONDS.observe(seconds)
    NEXT_OFFSET.labels(partition).set(state.next_offset)
    LAG.metered(partition, state.next_offset, batch[-1].recorded_at_ms or 0)
    NEWEST_RECORD_SECONDS.labels(partition).set((batch[-1].recorded_at_ms or 0) / 1_000)
    ACCOUNTS.labels(partition).set(len(state.accounts))
    kinds = collections.Counter(map(attrgetter("kind"), work.metered.entries))
    for kind, count in kinds.items():
        ENTRIES.labels(kind).inc(count)
    if kinds["uncovered"]:
        for entry in work.metered.entries:
            if entry.kind == "uncovered" and entry.calls > 0:
                UNCOVERED.labels(entry.reason).inc()
    for letter in work.metered.dead_letters:
        DEAD_LETTERS.labels(letter.reason).inc()
