"""The steps to Kafka: name, connection, TLS, login, advertised listeners, cluster, rights, topics, clock."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import TransactionalIdAuthorizationFailedError
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from kafka_access.access import KafkaAccess, KafkaAccessError
from kafka_access.connection_steps import ConnectionStepError, take_steps
from metering.kafka_rights import ResourceRights, needed_rights
from metering.preconditions import BrokerView
from metering.times import SECOND_MS
from metering.topics import EVENTS
from phonemeter.doctor.findings import Findings
from phonemeter.doctor.requests import acl_command, config_command, topic_command
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from streams.admin_client import TIMEOUT_S, admin_client, error_text
from streams.preconditions import ask

STEP_TIMEOUT_S: Final = 5.0
CLOCK_MS_MAX: Final = 2_000
"""Difference of clocks that is no finding."""

_TOPIC_ABSENT: Final = KafkaError.UNKNOWN_TOPIC_OR_PART
_DENIED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
_PASSING: Final = frozenset(
    {
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
_AFTER_CONNECTION: Final = ("cluster", "rights", "topic settings", "clock of Kafka")


class KafkaSteps:
    """The steps to one Kafka, for the services that one account runs. Each is tried once."""

    def __init__(
        self, access: KafkaAccess, services: Sequence[str], partitions: int, findings: Findings
    ) -> None:
        self._access = access
        self._services = services
        self._partitions = partitions
        self._findings = findings

    def take(self) -> None:
        """Try all steps; those behind one that failed on every broker are not tried."""
        reached = [self._reach(address) for address in self._access.addresses]
        if not any(reached):
            self._findings.skip(("advertised listeners", *_AFTER_CONNECTION), "no broker lets us in")
            return
        client = admin_client(self._access, "phonemeter-doctor")
        if not self._reach_advertised(client):
            self._findings.skip(_AFTER_CONNECTION[1:], "not every broker can be reached as it is advertised")
            return
        if self._examine_rights(client):
            self._examine_topics()
            self._examine_clock()
        else:
            self._findings.skip(_AFTER_CONNECTION[2:], "rights are missing")

    def _reach(self, address: str) -> bool:
        try:
            take_steps(
                self._access,
                address,
                STEP_TIMEOUT_S,
                lambda step, words: self._findings.ok(step, address, words),
            )
        except ConnectionStepError as error:
            self._findings.fail(error.step, address, f"{error}.", self._remedy(error, address))
        except KafkaAccessError as error:
            self._findings.fail("login" if self._access.login else "tls", address, f"{error}.")
        else:
            return True
        return False

    def _remedy(self, error: ConnectionStepError, address: str) -> str:
        host = address.rpartition(":")[0]
        match error.step:
            case "resolve":
                return f"Ask for the brokers' names, or for a DNS entry of {host} where this machine looks."
            case "connect":
                return (
                    f"Ask whether a listener is at {address}, which host and port it has, and for a firewall "
                    f"rule from this machine to it."
                )
            case "tls":
                return "Ask for the CA's certificate and for the names that the brokers' certificates have."
            case "login":
                who = self._access.login.who if self._access.login else "this client"
                return f"Ask for the mechanism, the password and the account of {who}."
            case _:
                return f"Ask which security the listener at {address} has."

    def _reach_advertised(self, client: AdminClient) -> bool:
        """Connect to each broker as it tells clients to; they use that address from then on."""
        try:
            found = client.list_topics(timeout=TIMEOUT_S)
        except KafkaException as error:
            self._findings.fail("advertised listeners", str(self._access), error_text(error.args[0]))
            return False
        every = True
        for broker in sorted(found.brokers.values(), key=lambda one: one.id):
            address = f"{broker.host}:{broker.port}"
            try:
                take_steps(self._access, address, STEP_TIMEOUT_S)
            except KafkaAccessError as error:
                every = False
                self._findings.fail(
                    "advertised listeners",
                    address,
                    f"Broker {broker.id} tells its clients to connect to {address}: {error}.",
                    f"Ask to correct advertised.listeners of broker {broker.id}, or for DNS and a firewall "
                    f"rule by which {address} is reached from this machine.",
                )
            else:
                self._findings.ok("advertised listeners", address, f"broker {broker.id}")
        count = len(found.brokers)
        self._findings.ok("cluster", found.cluster_id or "", f"{count} broker{'' if count == 1 else 's'}")
        return every

    def _examine_rights(self, client: AdminClient) -> bool:
        """Compare what the brokers allow the account with what its services need."""
        needed = needed_rights(self._services)
        topics = {self._access.topic(one.name): one for one in needed if one.resource == "topic"}
        groups = {self._access.group(one.name): one for one in needed if one.resource == "group"}
        asked: dict[str, Any] = dict(
            client.describe_topics(
                TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=TIMEOUT_S
            )
        )
        asked |= _described_groups(client, list(groups)) if groups else {}
        each = [self._compare(name, wanted, asked[name]) for name, wanted in (topics | groups).items()]
        each += [self._try_transactions(one) for one in needed if one.resource == "transactional-id"]
        return all(each)

    def _try_transactions(self, wanted: ResourceRights) -> bool:
        """Look at a transactional id: Kafka tells no rights on it, but whether it may be seen."""
        step, name = "rights on transactional ids", self._access.group(wanted.name)
        try:
            with admin(self._access) as client:
                client.check_transactional_id(wanted.name)
        except OperationError as error:
            if not isinstance(error.__cause__, TransactionalIdAuthorizationFailedError):
                self._findings.fail(step, name, str(error))
                return False
            self._findings.fail(
                step,
                name,
                f"The account may not {', '.join(wanted.operations)} on transactional id {name}.",
                f"Ask for:\n{acl_command(self._access, wanted, wanted.operations)}",
            )
            return False
        self._findings.ok(step, name, "may be described; Kafka does not tell more without writing")
        return True

    def _compare(self, name: str, wanted: ResourceRights, asked: Any) -> bool:  # noqa: ANN401 - two kinds of futures
        step = f"rights on {wanted.resource}s"
        try:
            allowed = _operations(asked.result(timeout=2 * TIMEOUT_S).authorized_operations)
        except KafkaException as error:
            code = error.args[0].code()
            if code == _TOPIC_ABSENT:
                self._findings.fail(
                    step,
                    name,
                    f"Topic {name} does not exist.",
                    f"Let `phonemeter topics` create it, or ask for:\n"
                    f"{topic_command(self._access, wanted.name, self._partitions)}",
                )
                return False
            if code not in _DENIED:
                self._findings.fail(step, name, f"{error.args[0].name()}: {error_text(error.args[0])}.")
                return False
            allowed = frozenset()
        missing = [one for one in wanted.operations if one.upper() not in allowed]
        if not missing:
            self._findings.ok(step, name, ", ".join(wanted.operations))
            return True
        self._findings.fail(
            step,
            name,
            f"The account may not {', '.join(missing)} on {wanted.resource} {name}.",
            f"Ask for:\n{acl_command(self._access, wanted, missing)}",
        )
        return False

    def _examine_topics(self) -> None:
        step = "topic settings"
        own = {
            one.name
            for one in needed_rights(self._services)
            if {"DescribeConfigs", "AlterConfigs"} & set(one.operations)
        }
        if not own:
            return
        try:
            view = ask(self._access, own)
        except (KafkaAccessError, KafkaException, TimeoutError) as error:
            self._findings.fail(step, str(self._access), f"The topics cannot be described: {error}.")
            return
        wrong = self._tell_breaches(view, own)
        for name, topic in view.topics.items():
            named = self._access.topic(name)
            if name in own and topic.partitions != self._partitions:
                self._findings.fail(
                    step,
                    named,
                    f"Topic {named} has {topic.partitions} partitions and PHONEMETER_PARTITIONS is "
                    f"{self._partitions}.",
                    f"Set PHONEMETER_PARTITIONS={topic.partitions}, or ask for the topic to be made with "
                    f"{self._partitions} before the first event.",
                )
            elif name in own and named not in wrong:
                self._findings.ok(step, named, f"{topic.partitions} partitions, replicas: {topic.replicas}")

    def _tell_breaches(self, view: BrokerView, own: Iterable[str]) -> set[str]:
        wrong = set()
        known = set(map(self._access.topic, own))
        for one in view.breaches(frozenset(own)):
            if one.topic not in known:
                continue
            if one.weight == "advice":
                self._findings.advise("topic settings", one.topic, one.sentence)
                continue
            wrong.add(one.topic)
            asked = config_command(self._access, one.topic, one.setting, one.wanted) if one.wanted else ""
            self._findings.fail(
                "topic settings", one.topic, one.sentence, f"Ask for:\n{asked}" if asked else ""
            )
        return wrong

    def _examine_clock(self) -> None:
        """Compare our clock with the time that the brokers gave their newest event, if there is one."""
        step = "clock of Kafka"
        at = {TopicPartition(EVENTS, one): OffsetSpec.MAX_TIMESTAMP for one in range(self._partitions)}
        try:
            with admin(self._access) as client:
                newest_ms = max(one.timestamp for one in client.list_partition_offsets(at).values())
        except OperationError as error:
            self._findings.advise(step, str(self._access), str(error))
            return
        ahead_ms = newest_ms - time.time_ns() // 1_000_000
        if ahead_ms > CLOCK_MS_MAX:
            self._findings.fail(
                step,
                str(self._access),
                f"The brokers' clock is {ahead_ms / SECOND_MS:,.1f} s or more ahead of this machine's.",
                "Ask for the clocks to be kept by NTP, here and there.",
            )
        else:
            self._findings.ok(step, str(self._access), "the newest event is not from our future")


def _described_groups(client: AdminClient, groups: list[str]) -> dict[str, Any]:
    """The futures of the groups' descriptions; a new Kafka needs a moment until it has a coordinator."""

    def asked() -> dict[str, Any]:
        return dict(
            client.describe_consumer_groups(
                groups, include_authorized_operations=True, request_timeout=TIMEOUT_S
            )
        )

    return Retrying(
        retry=retry_if_result(lambda found: any(map(_is_passing, found.values()))),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(TIMEOUT_S),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else {},
    )(asked)


def _is_passing(asked: Any) -> bool:  # noqa: ANN401 - a future
    error = asked.exception(timeout=2 * TIMEOUT_S)
    return isinstance(error, KafkaException) and error.args[0].code() in _PASSING


def _operations(allowed: Iterable[Any] | None) -> frozenset[str]:
    """Operations in capitals without underscores, as those of `metering.kafka_rights` are compared."""
    return frozenset(one.name.replace("_", "") for one in allowed or ())
