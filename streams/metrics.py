"""What the stream worker tells Prometheus. The names are the interface of dashboards and alerting rules."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()

RECORDS: Final = Counter(
    "phonemeter_worker_records",
    "Records of phone-events that were metered.",
    ["partition"],
    registry=REGISTRY,
)
SKIPPED: Final = Counter(
    "phonemeter_worker_skipped_records",
    "Records delivered again although the state had them: after restarts and rebalances.",
    ["partition"],
    registry=REGISTRY,
)
ENTRIES: Final = Counter(
    "phonemeter_worker_ledger_entries",
    "Ledger entries published, by kind.",
    ["kind"],
    registry=REGISTRY,
)
DEAD_LETTERS: Final = Counter(
    "phonemeter_worker_dead_letters",
    "Records that are no events, by reason.",
    ["reason"],
    registry=REGISTRY,
)
SEEKS_BACK: Final = Counter(
    "phonemeter_worker_seeks_back",
    "Deliveries that left records out; the worker went back for them.",
    ["partition"],
    registry=REGISTRY,
)
PUBLISH_RETRIES: Final = Counter(
    "phonemeter_worker_publish_retries",
    "Attempts to publish a batch's outcome that failed and were repeated.",
    registry=REGISTRY,
)
RESTORES: Final = Counter(
    "phonemeter_worker_restores",
    "Times a partition's state was read back from the state topic.",
    ["partition"],
    registry=REGISTRY,
)
BATCH_RECORDS: Final = Histogram(
    "phonemeter_worker_batch_records",
    "Records per batch.",
    buckets=(1, 10, 100, 1_000, 5_000, 20_000),
    registry=REGISTRY,
)
BATCH_SECONDS: Final = Histogram(
    "phonemeter_worker_batch_seconds",
    "From a batch's delivery to its header's acknowledgement.",
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
NEXT_OFFSET: Final = Gauge(
    "phonemeter_worker_next_offset",
    "Offset of phone-events that is metered next.",
    ["partition"],
    registry=REGISTRY,
)
NEWEST_RECORD_SECONDS: Final = Gauge(
    "phonemeter_worker_newest_record_timestamp_seconds",
    "Broker time of the newest metered record, as Unix time.",
    ["partition"],
    registry=REGISTRY,
)
ACCOUNTS: Final = Gauge(
    "phonemeter_worker_accounts",
    "Apps known.",
    ["partition"],
    registry=REGISTRY,
)
