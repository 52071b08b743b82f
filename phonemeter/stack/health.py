"""The health of phonemeter from outside: Kafka, ClickHouse and the services, judged by `metering.health`."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from kafka import TopicPartition
from kafka.admin import OffsetSpec

from metering.health import Problem, Service
from metering.health_checks import (
    ConsumerPosition,
    HealthLimits,
    StoringProgress,
    membership_problems,
    position_problems,
    settling_problems,
    storage_problems,
)
from metering.preconditions import breaches
from metering.times import SECOND_MS
from metering.topics import (
    ALERTS,
    DEAD_LETTERS,
    EVENTS,
    LEDGER,
    NOTIFIER_GROUP,
    SINK_GROUP,
    STATE,
    WORKER_GROUP,
)
from phonemeter.clickhouse import ClickHouseError, ledger_client
from phonemeter.errors import OperationError
from phonemeter.event_log import rules_of_log
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings, without_password
from phonemeter.stack import service_health
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.consumer_positions import GroupPositions, group_positions, with_waiting_times
from phonemeter.stack.kafka.progress import service_progress
from phonemeter.stack.misplacing_sources import misplacing_sources
from phonemeter.stack.supervisor import ServiceState
from sinks.admin_client import KafkaAdmin
from sinks.connection import rows
from sinks.position import BEFORE_ALL, Position
from sinks.preconditions import found_topics

REPLY_TIMEOUT_S: Final = 10.0
LETTERS_WITHIN_S: Final = 900

_NEWEST: Final = "SELECT count(), toUnixTimestamp64Milli(max(recorded_at)) FROM ledger"
_UNSETTLED: Final = """
SELECT appid, (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(unsettled_at)) / 1000
FROM unsettled ORDER BY unsettled_at LIMIT 10000
"""
_POSITIONS: Final = (
    "SELECT source_partition, max((source_offset, line)) FROM ledger GROUP BY source_partition"
)

READS: Final[dict[Service, tuple[str, str]]] = {
    "worker": (WORKER_GROUP, EVENTS),
    "sink": (SINK_GROUP, LEDGER),
    "notifier": (NOTIFIER_GROUP, ALERTS),
}
"""The consumer group of each service, and the topic that it reads."""


@dataclass(frozen=True, slots=True)
class ConsumerHealth:
    """A stage that reads a topic: its processes, and the records that they have not processed.

    `waited_s` is the age of the oldest of those records.
    """

    members: int
    lag: int
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StackHealth:
    """The result of an examination.

    Attributes:
        problems: a sentence per broken promise.
        notices: a sentence per thing that could be better, or that is not phonemeter's to repair.
        services: the services of the stack that runs on the data directory; None if there is none.
        notifier: also None if no routes file is set and none runs.
        wechat: the state of the service for WeChat in one word; None if none answers.
        unsettled_apps: number of apps whose figures may still change; None if unknown.
        horizons_ms: per partition the horizon of duplicates; 0 if no event id was forgotten.
    """

    kafka: str
    clickhouse: str
    worker: ConsumerHealth | None
    sink: ConsumerHealth | None
    ledger_rows: int | None
    newest_row_age_s: float | None
    services: dict[str, dict[str, Any]] | None
    problems: list[str] = field(default_factory=list)
    notifier: ConsumerHealth | None = None
    notices: list[str] = field(default_factory=list)
    wechat: str | None = None
    unsettled_apps: int | None = None
    horizons_ms: dict[int, int] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """True if no promise is broken."""
        return not self.problems


def examine(settings: Settings, limits: HealthLimits | None = None) -> StackHealth:
    """Examine Kafka, ClickHouse, the services and the stack of the data directory. Takes some seconds."""
    return _Examination(settings, limits or HealthLimits()).health()


class _Examination:
    """One examination; each step adds problems and notices."""

    def __init__(self, settings: Settings, limits: HealthLimits) -> None:
        self._settings = settings
        self._limits = limits
        self._problems: list[str] = []
        self._notices: list[str] = []
        self._told: dict[Service, list[Problem]] = {}
        self._states: dict[Service, str] = {}
        self._consumers: dict[Service, ConsumerHealth] = {}
        self._acknowledged: dict[int, Position] = {}
        self._ends: dict[int, int] = {}
        self._unsettled_apps: int | None = None
        self._horizons_ms: dict[int, int] = {}

    def health(self) -> StackHealth:
        """Examine everything."""
        services = StackDirectory(self._settings.data_dir).read_state()
        running: dict[str, dict[str, Any]] | None = None if services is None else services["services"]
        try:
            with admin(self._settings.kafka_access) as client:
                self._ask_services(str(client.describe_cluster()["cluster_id"]), running or {})
                self._ask_kafka(client)
                ledger = self._ask_clickhouse(client)
        except OperationError as error:
            self._problems.append(str(error))
            ledger = self._ask_clickhouse(None)
        self._problems.extend(misplacing_sources(self._settings.clickhouse))
        rows_there, age_s = ledger
        self._problems.extend(
            f"Service {name} is {one['state']}; see {one['log']}."
            for name, one in (running or {}).items()
            if one["state"] != ServiceState.READY
        )
        return StackHealth(
            self._settings.kafka,
            without_password(self._settings.clickhouse),
            self._consumers.get("worker"),
            self._consumers.get("sink"),
            rows_there,
            age_s,
            running,
            self._problems,
            self._consumers.get("notifier"),
            self._notices,
            self._states.get("wechat"),
            self._unsettled_apps,
            self._horizons_ms,
        )

    def _ask_services(self, cluster: str, running: dict[str, dict[str, Any]]) -> None:
        """Query the services of this machine that work on this Kafka."""
        for service, port in service_health.ports(self._settings).items():
            told = service_health.ask(service, port)
            if told is None or (told["cluster"] != cluster and service not in running):
                if running.get(service, {}).get("state") == ServiceState.READY:
                    self._problems.append(
                        f"The {service} does not answer at port {port}: its process stands still, or is busy "
                        f"with one thing only."
                    )
                continue
            self._told[service] = service_health.problems(told)
            self._states[service] = str(told["state"])
            self._problems.extend(one.sentence for one in self._told[service])
            self._notices.extend(one for one in told["notices"] if one not in self._notices)

    def _ask_kafka(self, client: KafkaAdmin) -> None:
        found = found_topics(client)
        for breach in breaches(found, demands=self._settings.kafka_access.demands):
            known = self._notices if breach.weight == "advice" else self._problems
            if breach.sentence not in known:
                known.append(breach.sentence)
        reached = service_progress(client)
        self._acknowledged = reached.stored
        readers: dict[Service, GroupPositions] = {}
        for service, (group, topic) in READS.items():
            one = group_positions(client, group, topic, reached.metered if service == "worker" else None)
            if one is not None and self._is_expected(service, one):
                readers[service] = one
        places = with_waiting_times(
            self._settings.kafka_access, [at for one in readers.values() for at in one.places]
        )
        for service, one in readers.items():
            self._judge(service, one.members, [at for at in places if at.topic == READS[service][1]])
        if STATE in found:
            self._horizons_ms = duplicate_horizons_ms(self._settings)
        if EVENTS in found and DEAD_LETTERS in found:
            self._count_letters(client, found[EVENTS].partitions)

    def _is_expected(self, service: Service, found: GroupPositions) -> bool:
        """The routes file may be set for the notifier alone, for example in containers."""
        return service != "notifier" or self._settings.alert_routes is not None or found.members > 0

    def _judge(self, service: Service, members: int, places: list[ConsumerPosition]) -> None:
        group, topic = READS[service]
        self._consumers[service] = ConsumerHealth(
            members,
            sum(place.waiting for place in places),
            round(max((at.waited_s for at in places), default=0), 3),
        )
        known = {(one.promise, one.partition) for one in self._told.get(service, ())}
        standing = {partition for promise, partition in known if promise == "advancing"}
        limits = self._limits_of(service)
        for one in (*membership_problems({topic: (group, members)}), *position_problems(places, limits)):
            # The service itself reports it with more detail.
            if (one.promise, one.partition) not in known and one.partition not in standing:
                self._problems.append(one.sentence)

    def _limits_of(self, service: Service) -> HealthLimits:
        if service != "sink":
            return self._limits
        return self._limits.with_pause(self._settings.sink_flush_ms / SECOND_MS)

    def _count_letters(self, client: KafkaAdmin, partitions: int) -> None:
        since_ms = int((time.time() - LETTERS_WITHIN_S) * SECOND_MS)
        asked = [TopicPartition(DEAD_LETTERS, partition) for partition in range(partitions)]
        began = client.list_partition_offsets(dict.fromkeys(asked, since_ms))
        ends = client.list_partition_offsets(dict.fromkeys(asked, OffsetSpec.LATEST))
        # The offset is -1 where nothing is so new.
        letters = sum(ends[at].offset - began[at].offset for at in asked if began[at].offset >= 0)
        if letters:
            self._notices.append(
                f"Records of the last {LETTERS_WITHIN_S // 60} minutes that are no events: {letters:,}; "
                f"`phonemeter dead-letters list` says why."
            )

    def _ask_clickhouse(self, client: KafkaAdmin | None) -> tuple[int | None, float | None]:
        try:
            with ledger_client(self._settings.clickhouse, reply_timeout_s=REPLY_TIMEOUT_S) as clickhouse:
                ((count, newest_ms),) = rows(clickhouse, _NEWEST)
                newest = {
                    int(partition): Position(*position)
                    for partition, position in rows(clickhouse, _POSITIONS)
                }
        except ClickHouseError as error:
            self._problems.append(str(error))
            return None, None
        self._ask_unsettled()
        if client is not None:
            self._compare(client, newest)
        return count, round(time.time() - newest_ms / SECOND_MS, 3) if count else None

    def _ask_unsettled(self) -> None:
        # A sink of an older version has not created the view.
        with suppress(ClickHouseError), ledger_client(self._settings.clickhouse) as clickhouse:
            waits_s = {appid: float(seconds) for appid, seconds in rows(clickhouse, _UNSETTLED)}
            self._unsettled_apps = len(waits_s)
            told = self._told.get("settler")
            if told is None:
                reasons = dict.fromkeys(waits_s, "no settler answers on this machine")
                self._problems.extend(one.sentence for one in settling_problems(waits_s, reasons))

    def _compare(self, client: KafkaAdmin, newest: dict[int, Position]) -> None:
        """Compare what ClickHouse has with what it acknowledged before, and with the end of the log."""
        described = client.describe_topics([EVENTS])[0]
        if described["error_code"] != 0:
            return
        asked = [TopicPartition(EVENTS, one["partition_index"]) for one in described["partitions"]]
        ends = client.list_partition_offsets(dict.fromkeys(asked, OffsetSpec.LATEST))
        found = [
            StoringProgress(
                at.partition,
                newest.get(at.partition, BEFORE_ALL),
                self._acknowledged.get(at.partition, BEFORE_ALL),
                end.offset,
            )
            for at, end in ends.items()
        ]
        self._problems.extend(one.sentence for one in storage_problems(found))


def duplicate_horizons_ms(settings: Settings) -> dict[int, int]:
    """The horizon of duplicates in the newest checkpoint of each partition that has one."""
    recorded = rules_of_log(settings.kafka_access, settings.rules()).recorded
    return {partition: summary.horizon_ms for partition, summary in recorded.items()}
