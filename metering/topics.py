"""The Kafka topics through which the stages communicate, and the configuration that each needs."""

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

RESTORE_GROUP: Final = "phonemeter-restore"
"""Consumer group that says, by a committed offset, that a copy into these topics is not finished."""

RESTORE_TRANSACTIONS: Final = "phonemeter-restore"
"""Transactional id of the restore, which writes the gaps of a log."""

REPARTITION_GROUP: Final = "phonemeter-repartition"
"""Consumer group that says, by a committed offset, that the log is moved to topics with another prefix."""

CLOSED_BYTES: Final = "80"
"""The `max.message.bytes` of `phone-events` once it is closed: no event is so small, and Kafka's own records
that end a transaction are, so that open ones end."""

KEEP_FOREVER: Final = "-1"

KEPT_WHOLE: Final = {
    "cleanup.policy": "delete",
    "retention.ms": KEEP_FOREVER,
    "retention.bytes": KEEP_FOREVER,
}
"""Configuration of a topic that replay and audit read again from its first record."""

DURABLE: Final = {"unclean.leader.election.enable": "false"}
"""Configuration of every topic, where the broker allows it: a replica that lacks acknowledged records must
not become the leader."""

PUBLISHED_BYTES_MAX: Final = 1_000_000
"""The largest record or batch that a service publishes; Kafka's default allows it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its `name`, its `purpose`, and the `config` that it is created with.

    `metering.preconditions` decides how far an existing topic may differ from it.
    """

    name: str
    purpose: str
    config: dict[str, str] = field(default_factory=dict)


ALL: Final[tuple[Topic, ...]] = (
    Topic(
        EVENTS,
        "What happened, per app in one order: usage, purchases, account changes and clock ticks.",
        # Events are validated against the broker's time.
        {"message.timestamp.type": "LogAppendTime", **KEPT_WHOLE},
    ),
    Topic(
        LEDGER,
        "What each event did: ledger records, same partition as their events.",
        KEPT_WHOLE,
    ),
    Topic(
        ALERTS,
        "Alerts raised and recovered, for the notifier; each is a ledger entry as well.",
        KEPT_WHOLE,
    ),
    Topic(
        DEAD_LETTERS,
        "Records that could not be understood: the original bytes, their place and the reason.",
        KEPT_WHOLE,
    ),
    Topic(
        STATE,
        "The stream processor's durable state: the newest two versions of each item.",
        # Compaction spares the newest segment, and a worker that takes over a partition reads it whole.
        {"cleanup.policy": "compact", "segment.bytes": "67108864"},
    ),
    Topic(
        DELIVERIES,
        "Which alert goes where and how far that is: the notifier's durable state, newest of each key.",
        # A zombie notifier's writes are corrected by its successor before older values are compacted away.
        {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"},
    ),
)
"""All topics. They have the same number of partitions: an event, its ledger entries, alerts, dead letter and
state share one partition number. Only deliveries are partitioned by route instead of app."""
