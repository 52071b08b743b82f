"""The topics on a broker: created if missing, refused or repaired if not configured as the rules need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidConfigurationError,
    KafkaError,
    NoError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from kafka_access.access import KafkaAccess
from metering.preconditions import INSYNC, Breach, FoundTopic, TopicDemands, breaches
from metering.topics import ALL, DURABLE, REPARTITION_GROUP, RESTORE_GROUP
from phonemeter.errors import UserError
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.progress import committed
from sinks.admin_client import KafkaAdmin
from sinks.preconditions import found_topics

NOT_REPAIRED: Final = {
    "message.timestamp.type": "Records that it has keep the time that their producer gave them, and are "
    "metered with that.",
    "cleanup.policy": "What was deleted before is gone: compare what producers sent with `phonemeter audit`.",
    "retention.ms": "What was deleted before is gone: `phonemeter audit` says whether the log is whole.",
    "retention.bytes": "What was deleted before is gone: `phonemeter audit` says whether the log is whole.",
}
"""The remaining damage after a setting is corrected, by setting."""

FORBIDDEN: Final = (InvalidConfigurationError, PolicyViolationError)
"""Errors of a managed Kafka for settings that its users may not change."""

_DENIED: Final = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)

SEEN_S_MAX: Final = 10.0

REPARTITION: Final = "repartition "
"""Beginning of what is noted in `RESTORE_GROUP` while a log is copied into topics with more partitions."""

Setting = tuple[str, str]
"""A topic and the name of a setting."""


@dataclass(frozen=True, slots=True)
class TopicChanges:
    """The changes that were made to the topics.

    Attributes:
        created: the names of the topics that were missing.
        changed: a sentence per setting that was changed.
        advice: a sentence per setting that could be safer, or that this Kafka does not allow to be set.
    """

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


def ensure_topics(kafka: KafkaAccess, partitions: int, *, fix: bool = False) -> TopicChanges:
    """Create the topics that are missing and check the others. Blocking.

    `fix` corrects wrong settings as far as possible.

    Raises:
        OperationError: the brokers do not answer.
        UserError: a topic has another number of partitions, or a configuration that breaks the rules, or a
            restore was not finished.
    """
    outcome = TopicChanges()
    with admin(kafka) as client:
        _refuse_copied(client, kafka)
        _create_missing(client, partitions, kafka, outcome)
        found = found_topics(client)
        told = breaches(found, demands=kafka.demands)
        if fix:
            _fix(client, [one for one in told if one.fixable], kafka.prefix, outcome)
            found = found_topics(client)
            told = breaches(found, demands=kafka.demands)
    outcome.advice.extend(one.sentence for one in told if one.weight == "advice")
    refused = [one.sentence for one in told if one.weight != "advice"]
    if refused:
        raise UserError(" ".join(refused))
    _check_partitions(found, partitions, kafka)
    return outcome


def _create_missing(client: KafkaAdmin, partitions: int, kafka: KafkaAccess, outcome: TopicChanges) -> None:
    """Create all: only the controller knows which exist, a broker's list of topics may be out of date."""
    try:
        created = _create(client, partitions, kafka, DURABLE)
    except FORBIDDEN as error:
        created = _create(client, partitions, kafka, {})
        outcome.advice.append(
            f"This Kafka does not let {', '.join(DURABLE)} be set ({error}): see that its own value is false."
        )
    outcome.created.extend(created.names)
    # Topics that others made beforehand need no right to create them.
    absent = created.denied - found_topics(client).keys() if created.denied else frozenset()
    if absent:
        raise UserError(
            f"Kafka has no topic {', '.join(map(kafka.topic, sorted(absent)))}, or does not show it to this "
            f"account, which may not create topics: `phonemeter doctor --service operator` says what to "
            f"ask for."
        )
    client.wait_for_topics([topic.name for topic in ALL])
    if outcome.created:
        _set_min_insync(client, outcome.created, kafka.demands)


class _Created(NamedTuple):
    """The topics that were created, and those that this account may not create."""

    names: list[str]
    denied: frozenset[str]


def _create(client: KafkaAdmin, partitions: int, kafka: KafkaAccess, durable: dict[str, str]) -> _Created:
    wanted = {
        topic.name: {
            "num_partitions": partitions,
            # Minus one is the broker's default: 1 in the stack, usually 3 in a cluster.
            "replication_factor": kafka.replicas or -1,
            "configs": {**topic.config, **durable},
        }
        for topic in ALL
    }
    created, denied = [], set()
    refused: KafkaError | None = None
    for answer in client.create_topics(wanted, raise_errors=False):
        error = for_code(answer["error_code"])
        if error is NoError:
            created.append(answer["name"])
        elif error in _DENIED:
            denied.add(answer["name"])
        elif error is not TopicAlreadyExistsError:
            refused = error(answer["error_message"])
    if refused is not None:
        raise refused
    return _Created(created, frozenset(denied))


def _set_min_insync(client: KafkaAdmin, created: Sequence[str], demands: TopicDemands) -> None:
    """Set the number of replicas that must acknowledge, now that the number of replicas is known."""
    set_here: dict[Setting, str] = {}
    for name, topic in found_topics(client).items():
        least = str(demands.insync_of(topic.replicas))
        if name in created and topic.config is not None and topic.config.get(INSYNC, least) != least:
            # The check that follows reports a setting that may not be set.
            refusal = alter(client, name, {INSYNC: least})
            if not refusal:
                set_here[name, INSYNC] = least
    wait_until_seen(client, set_here)


def _fix(client: KafkaAdmin, wrong: Sequence[Breach], prefix: str, outcome: TopicChanges) -> None:
    set_here: dict[Setting, str] = {}
    for one in wrong:
        refusal = alter(client, one.topic.removeprefix(prefix), {one.setting: one.wanted})
        if refusal:
            outcome.advice.append(
                f"This Kafka does not let {one.setting} of {one.topic} be set to {one.wanted}: {refusal}"
            )
            continue
        set_here[one.topic.removeprefix(prefix), one.setting] = one.wanted
        told = f"Topic {one.topic}: {one.setting} was {one.found} and is {one.wanted}."
        outcome.changed.append(" ".join(filter(None, (told, NOT_REPAIRED.get(one.setting)))))
    wait_until_seen(client, set_here)


def unfinished_restore(client: KafkaAdmin) -> str:
    """The identity of the backup whose restore was not finished; empty if there is none.

    Who may not see the group does not restore either.
    """
    try:
        noted = committed(client, RESTORE_GROUP)
    except GroupAuthorizationFailedError:
        return ""
    return next((done.metadata for done in noted.values() if done.offset >= 0), "")


def _refuse_copied(client: KafkaAdmin, kafka: KafkaAccess) -> None:
    """Refuse topics that a copy is not finished in, and those whose log is elsewhere now."""
    unfinished = unfinished_restore(client)
    if unfinished.startswith(REPARTITION):
        raise UserError(
            f"The topics with the prefix {kafka.prefix!r} on Kafka at {kafka} do not have the whole log yet: "
            f"run `phonemeter repartition --finish` with the settings of the old topics."
        )
    if unfinished:
        raise UserError(
            f"A restore into Kafka at {kafka} was not finished: run `phonemeter restore` again, "
            f"which goes on from where it is."
        )
    moved = log_move(client)
    if moved is not None and moved.done:
        raise UserError(
            f"The log on Kafka at {kafka} was moved to topics with the prefix {moved.prefix!r} and "
            f"{moved.partitions} partitions: set PHONEMETER_KAFKA_PREFIX and PHONEMETER_PARTITIONS to these "
            f"(kafka_prefix and partitions in phonemeter.toml)."
        )


class LogMove(NamedTuple):
    """The move of a log to topics with another prefix, as noted in `REPARTITION_GROUP` of the old ones.

    Attributes:
        done: True once the new topics are open, False while events are copied.
        bytes_max: `max.message.bytes` of the old log before it was closed.
    """

    prefix: str
    partitions: int
    done: bool
    bytes_max: int

    def noted(self) -> str:
        """The metadata of the committed offset."""
        return f"{'moved' if self.done else 'moving'} {self.partitions} {self.bytes_max} {self.prefix}"


def log_move(client: KafkaAdmin) -> LogMove | None:
    """The move of the log that was closed for it; None if there is none, or this account may not see it."""
    try:
        noted = committed(client, REPARTITION_GROUP)
    except GroupAuthorizationFailedError:
        return None
    for done in noted.values():
        match done.metadata.split(" "):
            case [("moving" | "moved") as state, partitions, bytes_max, prefix]:
                return LogMove(prefix, int(partitions), state == "moved", int(bytes_max))
    return None


def alter(client: KafkaAdmin, topic: str, config: dict[str, str]) -> str:
    """Set some of a topic's configuration; returns the reason if it was refused."""
    answer = client.set_topic_config(topic, config)
    return "" if answer == "OK" else answer


def alter_and_wait(client: KafkaAdmin, topic: str, key: str, value: str) -> str:
    """Set one of a topic's settings and wait until the brokers have it; returns the reason if refused."""
    refusal = alter(client, topic, {key: value})
    if not refusal:
        wait_until_seen(client, {(topic, key): value})
    return refusal


def wait_until_seen(client: KafkaAdmin, wanted: Mapping[Setting, str]) -> None:
    """Wait until the brokers have a change that the controller has accepted."""

    def seen() -> bool:
        found = found_topics(client)
        return all((found[topic].config or {}).get(key) == value for (topic, key), value in wanted.items())

    Retrying(
        retry=retry_if_result(lambda seen: not seen),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(SEEN_S_MAX),
        retry_error_callback=lambda _: False,
    )(seen)


def _check_partitions(found: dict[str, FoundTopic], partitions: int, kafka: KafkaAccess) -> None:
    for topic in ALL:
        count = found[topic.name].partitions
        if count != partitions:
            raise UserError(
                f"Topic {kafka.topic(topic.name)} has {count} partitions but PHONEMETER_PARTITIONS "
                f"(partitions in phonemeter.toml) is {partitions}; set it to {count}: an app's state "
                f"lives in its partition and does not move."
            )
