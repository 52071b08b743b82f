"""The configuration that the topics need, compared with what the broker has. Pure: callers ask the broker.

A service checks at its start, and then every `CHECK_INTERVAL_S`. The weight of a breach decides:

* `refused`: results would be wrong, so no service starts;
* `broken`: a later promise does not hold. Services run and are unhealthy;
* `advice`: it could be safer. It is logged.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from metering.topics import (
    ALERTS,
    ALL,
    CLOSED_BYTES,
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


class TopicDemands(NamedTuple):
    """The demands of an installation on its topics.

    Attributes:
        prefix: precedes their names.
        replicas: the least number of replicas; 0 for the brokers' default.
        insync: the least `min.insync.replicas`; 0 for what goes with the replicas.
    """

    prefix: str = ""
    replicas: int = 0
    insync: int = 0

    def insync_of(self, replicas: int) -> int:
        """The required `min.insync.replicas` of a topic with so many replicas."""
        return self.insync or required_insync_replicas(replicas)


class BrokerView(NamedTuple):
    """The topics on the brokers, by name without prefix, the id of the cluster, and what is demanded."""

    topics: Mapping[str, FoundTopic]
    cluster: str = ""
    demands: TopicDemands = TopicDemands()

    def breaches(self, own: Collection[str]) -> "tuple[Breach, ...]":
        """The breaches for a service that reads or writes these topics."""
        return breaches(self.topics, own, self.demands)


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


def breaches(
    found: Mapping[str, FoundTopic],
    own: Collection[str] = ALL_TOPICS,
    demands: TopicDemands = TopicDemands(),  # noqa: B008 - a constant
) -> tuple[Breach, ...]:
    """The breaches, the most severe first; one of a topic that is not in `own` is at most `broken`.

    A log that was moved is refused to all: a sink would mix its ledger with the new one.
    """
    all_breaches = [*_different_partitions(found, demands.prefix)]
    for topic in ALL:
        of_topic = _of(replace(topic, name=f"{demands.prefix}{topic.name}"), found.get(topic.name), demands)
        all_breaches.extend(
            one._replace(weight="broken")
            if topic.name not in own and one.weight == "refused" and one.found != CLOSED_BYTES
            else one
            for one in of_topic
        )
    return tuple(sorted(all_breaches, key=lambda one: ("refused", "broken", "advice").index(one.weight)))


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


def _of(topic: Topic, there: FoundTopic | None, demands: TopicDemands) -> Iterator[Breach]:
    if there is None:
        yield Breach(
            topic.name,
            "",
            "",
            "",
            "broken",
            f"Topic {topic.name} does not exist; `phonemeter topics` creates it.",
        )
        return
    if there.replicas < demands.replicas:
        yield Breach(
            topic.name,
            "replicas",
            str(there.replicas),
            "",
            "refused",
            f"Topic {topic.name} has {_counted(there.replicas)} and PHONEMETER_KAFKA_REPLICATION_FACTOR "
            f"asks for {demands.replicas}: have partitions reassigned to more brokers, or ask for fewer.",
        )
    if there.config is None:
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
        yield from _of_insync(topic, there.replicas, there.config.get(INSYNC, ""), demands)


def _of_config(topic: Topic, replicas: int, config: Mapping[str, str]) -> Iterator[Breach]:
    for setting, wanted in required_config(topic).items():
        value = config.get(setting)
        if value is None or _fits(setting, value, wanted):
            continue
        if setting == "unclean.leader.election.enable" and replicas == 1:
            continue
        if topic.name.endswith(EVENTS) and (setting, value) == ("max.message.bytes", CLOSED_BYTES):
            yield _closed(topic)
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


def _closed(topic: Topic) -> Breach:
    # Nothing is wanted in its place, as opening it again beside the new log would divide the events.
    return Breach(
        topic.name,
        "max.message.bytes",
        CLOSED_BYTES,
        "",
        "refused",
        f"Topic {topic.name} takes no events any more: `phonemeter repartition` closed it to move its log to "
        f"topics with another prefix; set PHONEMETER_KAFKA_PREFIX and PHONEMETER_PARTITIONS to those that it "
        f"named, or take the move back by its option --abandon.",
    )


def _of_insync(topic: Topic, replicas: int, insync: str, demands: TopicDemands) -> Iterator[Breach]:
    least = demands.insync_of(replicas)
    if not insync.isdecimal():
        return
    if int(insync) > replicas:
        yield Breach(
            topic.name,
            INSYNC,
            insync,
            str(min(least, replicas)),
            "broken",
            f"Topic {topic.name} has {INSYNC}={insync} and {_counted(replicas)}: brokers take no records "
            f"with that; {FIX}, or have partitions reassigned to more brokers.",
        )
    elif int(insync) < demands.insync:
        yield Breach(
            topic.name,
            INSYNC,
            insync,
            str(least),
            "refused",
            f"Topic {topic.name} has {INSYNC}={insync} and PHONEMETER_KAFKA_MIN_INSYNC_REPLICAS asks for "
            f"{least}; {FIX}.",
        )
    elif int(insync) < least:
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


def _counted(replicas: int) -> str:
    return f"{replicas} replica{'' if replicas == 1 else 's'}"


def _different_partitions(found: Mapping[str, FoundTopic], prefix: str) -> Iterator[Breach]:
    counts = {topic.name: found[topic.name].partitions for topic in ALL if topic.name in found}
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{prefix}{name} {count}" for name, count in counts.items())
        yield Breach(
            f"{prefix}{EVENTS}",
            PARTITIONS,
            counted,
            "",
            "refused",
            f"The topics have different numbers of partitions ({counted}): one was changed after it was "
            f"made, and an app's state does not move with its key; restore it, or start over with empty "
            f"topics.",
        )
