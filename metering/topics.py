"""The Kafka topics where the stages meet: their names, and what each must guarantee (DESIGN section 4)."""

from dataclasses import dataclass, field
from typing import Final

EVENTS: Final = "phone-events"
LEDGER: Final = "phone-ledger"
ALERTS: Final = "phone-alerts"
DEAD_LETTERS: Final = "phone-dead-letters"
STATE: Final = "phone-state"
DELIVERIES: Final = "phone-deliveries"

WORKER_GROUP: Final = "phonemeter-worker"
"""Consumer group of the stream processor."""

SINK_GROUP: Final = "phonemeter-sink"
"""Consumer group of the ClickHouse writer."""

NOTIFIER_GROUP: Final = "phonemeter-notifier"
"""Consumer group of the notifier."""

KEEP_FOREVER: Final = "-1"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: its `name`, its `purpose`, and the broker-side `config` that the rules rely on."""

    name: str
    purpose: str
    config: dict[str, str] = field(default_factory=dict)


ALL: Final[tuple[Topic, ...]] = (
    Topic(
        EVENTS,
        "What happened, per app in one order: usage, purchases, account changes and clock ticks.",
        # The broker's own time is the "now" of validation; compaction would tear holes into the offsets.
        {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete", "retention.ms": KEEP_FOREVER},
    ),
    Topic(
        LEDGER,
        "What each event did: ledger records, same partition as their events.",
        {"cleanup.policy": "delete", "retention.ms": KEEP_FOREVER},
    ),
    Topic(
        ALERTS,
        "Alerts raised and recovered, for the notifier; each is a ledger entry as well.",
        {"cleanup.policy": "delete", "retention.ms": KEEP_FOREVER},
    ),
    Topic(
        DEAD_LETTERS,
        "Records that could not be understood: the original bytes, their place and the reason.",
        {"cleanup.policy": "delete", "retention.ms": KEEP_FOREVER, "max.message.bytes": "2097152"},
    ),
    Topic(
        STATE,
        "The stream processor's durable state: the newest two versions of each item.",
        # Compaction leaves the newest segment alone, and a worker that takes over reads it whole.
        {"cleanup.policy": "compact", "segment.bytes": "67108864"},
    ),
    Topic(
        DELIVERIES,
        "Which alert goes where and how far that is: the notifier's durable state, newest of each key.",
        # What a notifier that lost a partition still writes is corrected by its successor, before anything
        # that was true is compacted away.
        {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"},
    ),
)
"""Every topic of phonemeter. All have the same number of partitions: an event, its ledger entries, alerts,
dead letter and state share one partition number. Only deliveries go by route instead of app."""
