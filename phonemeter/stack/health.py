"""How phonemeter does, seen from outside: what answers, how far behind it is, how fresh the ledger is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec

from metering.topics import ALERTS, EVENTS, LEDGER, NOTIFIER_GROUP, SINK_GROUP, WORKER_GROUP
from phonemeter.errors import OperationError
from phonemeter.settings import Settings
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.progress import NO_COORDINATOR_YET, committed, how_far
from phonemeter.stack.kafka.topics import admin
from phonemeter.stack.supervisor import State
from sinks.connection import FAILURES, connect, rows, sentence

REPLY_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Consumer:
    """A stage that reads a topic: how many processes share the work, how many records they have not done."""

    members: int
    lag: int


@dataclass(frozen=True, slots=True)
class Health:
    """What was found. `problems` has a sentence for each thing that is not as it should be."""

    kafka: str
    clickhouse: str
    worker: Consumer | None
    sink: Consumer | None
    ledger_rows: int | None
    newest_row_age_s: float | None
    services: dict[str, dict[str, Any]] | None
    """The services of the stack that runs on the data directory; None if none does."""
    problems: list[str] = field(default_factory=list)
    notifier: Consumer | None = None
    """None also where no file of routes is set, so that none is expected, and none runs."""

    @property
    def healthy(self) -> bool:
        """Whether everything is as it should be."""
        return not self.problems


def examine(settings: Settings) -> Health:
    """Ask Kafka, ClickHouse and the stack of the data directory. Blocking, some seconds at most."""
    problems: list[str] = []
    worker = sink = notifier = None
    try:
        with admin(settings.kafka) as client:
            worker = _consumer(client, WORKER_GROUP, EVENTS, problems, how_far(client).metered)
            sink = _consumer(client, SINK_GROUP, LEDGER, problems)
            expected = settings.alert_routes is not None
            # The file may be set for the notifier alone, as containers have it.
            notifier = _consumer(client, NOTIFIER_GROUP, ALERTS, problems if expected else [])
            if not expected and notifier is not None and notifier.members == 0:
                notifier = None
    except OperationError as error:
        problems.append(str(error))
    ledger_rows, newest_row_age_s = _ledger(settings.clickhouse, problems)
    services = _services(settings, problems)
    return Health(
        settings.kafka,
        without_password(settings.clickhouse),
        worker,
        sink,
        ledger_rows,
        newest_row_age_s,
        services,
        problems,
        notifier,
    )


def without_password(url: str) -> str:
    """A URL that can be shown."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@", 1) if password else url


def _consumer(
    client: KafkaAdminClient,
    group: str,
    topic: str,
    problems: list[str],
    known: Mapping[int, int] = MappingProxyType({}),
) -> Consumer | None:
    """How a stage does with its topic, of which `known` records are done, whatever it has committed."""
    described = client.describe_topics([topic])[0]
    if described["error_code"] != 0:
        problems.append(f"Topic {topic} does not exist; phonemeter up creates it.")
        return None
    partitions = [TopicPartition(topic, one["partition_index"]) for one in described["partitions"]]
    ends = client.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    try:
        members = len(client.describe_groups([group])[group]["members"])
    except NO_COORDINATOR_YET:
        members = 0
    if members == 0:
        problems.append(f"Nobody reads {topic}: consumer group {group} has no members.")
    told = committed(client, group)
    done = {at: max(known.get(at.partition, 0), told[at].offset if at in told else 0) for at in partitions}
    return Consumer(members, sum(end.offset - done[at] for at, end in ends.items()))


def _ledger(url: str, problems: list[str]) -> tuple[int | None, float | None]:
    client = connect(url, reply_timeout_s=REPLY_TIMEOUT_S)
    try:
        ((count, newest_ms),) = rows(
            client, "SELECT count(), toUnixTimestamp64Milli(max(recorded_at)) FROM ledger"
        )
    except FAILURES as error:
        problems.append(
            f"ClickHouse at {without_password(url)} did not tell about the ledger: {sentence(error)}; start "
            f"it (phonemeter up) or set PHONEMETER_CLICKHOUSE (clickhouse in phonemeter.toml) to where it is."
        )
        return None, None
    finally:
        client.disconnect()
    return count, round(time.time() - newest_ms / 1_000, 3) if count else None


def _services(settings: Settings, problems: list[str]) -> dict[str, dict[str, Any]] | None:
    described = StackDirectory(settings.data_dir).read_state()
    if described is None:
        return None
    services: dict[str, dict[str, Any]] = described["services"]
    problems.extend(
        f"Service {name} is {one['state']}; see {one['log']}."
        for name, one in services.items()
        if one["state"] != State.READY
    )
    return services
