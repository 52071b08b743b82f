"""The configuration that the topics need, compared with what the broker has. Pure: callers ask the broker.

A service checks at its start, and then every `CHECK_INTERVAL_S`. The weight of a breach decides:

* `refused`: results would be wrong, so no service starts;
* `broken`: a later promise does not hold. Services run and are unhealthy;
* `advice`: it could be safer. It is logged.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from metering.topics import (
    ALERTS,
    ALL,
    DEAD_LETTERS,
    DELIVERIES,
    DURABLE,
    EVENTS,
    LEDGER,
    PUBLISHED_BYTES_MAX,
    STATE,
    Topic,
)

CHECK_INTERVAL_S: Final = 60.0
"""The pause between two checks of a running service."""

INSYNC: Final = "min.insync.replicas"
PARTITIONS: Final = "partitions"
FIX: Final = "`phonemeter topics --fix` sets it"

WORKER_TOPICS: Final = frozenset({EVENTS, LEDGER, ALERTS, DEAD_LETTERS, STATE})
SINK_TOPICS: Final = frozenset({LEDGER, DELIVERIES})
NOTIFIER_TOPICS: Final = frozenset({ALERTS, DELIVERIES})
SETTLER_TOPICS: Final = frozenset({EVENTS})

ALL_TOPICS: Final = frozenset(topic.name for topic in ALL)

Weight = Literal["refused", "broken", "advice"]

_WEIGHTS: Final[Mapping[str, tuple[Weight, str]]] = {
    "message.timestamp.type": (
        "refused",
        "the broker's clock says when an event arrived, and a producer's clock would decide in its place",
    ),
    "cleanup.policy": ("refused", "records would be deleted that are read again"),
    "retention.ms": ("broken", "records are deleted before a replay or an audit has read them"),
    "retention.bytes": ("broken", "records are deleted before a replay or an audit has read them"),
    "max.message.bytes": ("broken", "the topic would not take the largest record that is published to it"),
    "min.compaction.lag.ms": ("broken", "what was noted could be compacted away before it is corrected"),
    "segment.bytes": ("advice", "a worker that takes a partition over reads the newest segment whole"),
    "unclean.leader.election.enable": ("broken", "a leader may be elected that lacks what was acknowledged"),
}
"""By setting, the weight of a breach and its reason."""

_AT_LEAST: Final = frozenset({"max.message.bytes", "min.compaction.lag.ms"})
_AT_MOST: Final = frozenset({"segment.bytes"})


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as described by the broker.

    Attributes:
        partitions: their number.
        replicas: the lowest number of replicas of a partition.
        config: the configuration in effect; None if access is denied.
    """

    partitions: int
    replicas: int
    config: Mapping[str, str] | None


class BrokerView(NamedTuple):
    """The topics on the brokers, by name, and the id of the cluster."""

    topics: Mapping[str, FoundTopic]
    cluster: str = ""


class Breach(NamedTuple):
    """A topic that is not configured as it must be: the setting, its value and the required one."""

    topic: str
    setting: str
    found: str
    wanted: str
    weight: Weight
    sentence: str

    @property
    def fixable(self) -> bool:
        """True if changing the setting repairs it."""
        return bool(self.wanted)


def breaches(found: Mapping[str, FoundTopic], own: Collection[str] = ALL_TOPICS) -> tuple[Breach, ...]:
    """The breaches, the most severe first; one of a topic that is not in `own` is at most `broken`."""
    all_breaches = [*_different_partitions(found)]
    for topic in ALL:
        all_breaches.extend(_of(topic, found))
    lighter = [
        one._replace(weight="broken") if one.topic not in own and one.weight == "refused" else one
        for one in all_breaches
    ]
    return tuple(sorted(lighter, key=lambda one: ("refused", "broken", "advice").index(one.weight)))


class BreachLog:
    """Decides which breaches to log: new ones, and after every `again_looks` checks those that stay."""

    def __init__(self, again_looks: int = 60) -> None:
        self._again_looks = again_looks
        self._looks: dict[str, int] = {}

    def due(self, found: Collection[Breach]) -> list[Breach]:
        """The breaches to log, of those that a check found."""
        self._looks = {one.sentence: self._looks.get(one.sentence, 0) + 1 for one in found}
        return [one for one in found if self._looks[one.sentence] % self._again_looks == 1]


def required_insync_replicas(replicas: int) -> int:
    """The required `min.insync.replicas`: two where one more may be down."""
    return 2 if replicas > 2 else 1  # noqa: PLR2004 - with two, none may be down


def _of(topic: Topic, found: Mapping[str, FoundTopic]) -> Iterator[Breach]:
    there = found.get(topic.name)
    if there is None:
        yield Breach(
            topic.name,
            "",
            "",
            "",
            "broken",
            f"Topic {topic.name} does not exist; `phonemeter topics` creates it.",
        )
    elif there.config is None:
        yield Breach(
            topic.name,
            "",
            "",
            "",
            "advice",
            f"Kafka does not show the configuration of topic {topic.name}, so it was not checked; allow "
            f"DescribeConfigs on it.",
        )
    else:
        yield from _of_config(topic, there.replicas, there.config)


def _of_config(topic: Topic, replicas: int, config: Mapping[str, str]) -> Iterator[Breach]:
    for setting, wanted in required_config(topic).items():
        value = config.get(setting)
        if value is None or _fits(setting, value, wanted):
            continue
        if setting == "unclean.leader.election.enable" and replicas == 1:
            continue
        weight, why = _WEIGHTS[setting]
        bound = " or more" if setting in _AT_LEAST else " or less" if setting in _AT_MOST else ""
        yield Breach(
            topic.name,
            setting,
            value,
            wanted,
            weight,
            f"Topic {topic.name} has {setting}={value} and needs {wanted}{bound}: {why}; {FIX}.",
        )
    insync, least = config.get(INSYNC), required_insync_replicas(replicas)
    if insync is not None and insync.isdecimal() and int(insync) < least:
        yield Breach(
            topic.name,
            INSYNC,
            insync,
            str(least),
            "advice",
            f"Topic {topic.name} has {INSYNC}={insync}, and with {replicas} replicas it could be {least}: "
            f"what one broker alone acknowledged is lost with its disk; {FIX}.",
        )


def required_config(topic: Topic) -> dict[str, str]:
    """The required configuration of a topic, defaults included."""
    return {"max.message.bytes": str(PUBLISHED_BYTES_MAX), **topic.config, **DURABLE}


def _fits(setting: str, found: str, wanted: str) -> bool:
    if setting in _AT_LEAST | _AT_MOST and found.lstrip("-").isdecimal():
        return int(found) >= int(wanted) if setting in _AT_LEAST else int(found) <= int(wanted)
    return found == wanted


def _different_partitions(found: Mapping[str, FoundTopic]) -> Iterator[Breach]:
    counts = {topic.name: found[topic.name].partitions for topic in ALL if topic.name in found}
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield Breach(
            EVENTS,
            PARTITIONS,
            counted,
            "",
            "refused",
            f"The topics have different numbers of partitions ({counted}): one was changed after it was "
            f"made, and an app's state does not move with its key; restore it, or start over with empty "
            f"topics.",
        )
