"""The comparison with the ledger in ClickHouse: which of the facts have an outcome already.

The worker remembers ids only so far back. The ledger has all of them: an import asks it, and marks what was
never counted so that the worker counts it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from clickhouse_driver import Client

from kafka_access.access import KafkaAccess
from metering.ledger import CALL_KINDS
from metering.placement import partition_of
from metering.topics import EVENTS
from phonemeter.clickhouse import ledger_client
from phonemeter.history.staging import Staging
from phonemeter.settings import Settings
from phonemeter.topic_reader import offset_spans
from sinks.connection import rows
from sinks.entry_columns import ID_DIGITS_MIN

APPS_PER_QUERY: Final = 200
FEW_FACTS: Final = 20_000
"""Up to so many facts are looked up by how their ids begin; for more, all ids of their apps are read."""

IDS_PER_QUERY: Final = 5_000
"""A query has at most 256 KiB."""

IDS_PER_STEP: Final = 10_000
"""Ids between two looks at signals."""

REPLY_TIMEOUT_S: Final = 120.0

_LOOKED_UP: Final = (
    "SELECT DISTINCT appid, event_id FROM ledger WHERE appid IN %(apps)s AND kind != 'duplicate' "
    "AND substringUTF8(event_id, 1, %(length)s) IN %(beginnings)s"
)
_ALL_OF: Final = (
    "SELECT appid, event_id FROM ledger WHERE appid IN %(apps)s AND kind != 'duplicate' AND event_id != ''"
)
_CALLS: Final = (
    "SELECT appid, toYYYYMM(toStartOfMonth(time, 'Asia/Shanghai')) AS month, sumIf(calls, kind IN %(kinds)s) "
    "FROM ledger WHERE appid IN %(apps)s GROUP BY appid, toStartOfMonth(time, 'Asia/Shanghai')"
)


class MonthCalls(NamedTuple):
    """The calls of an app in a Shanghai month that the ledger has."""

    appid: str
    month: int
    calls: int


def mark_counted(staging: Staging, settings: Settings) -> Iterator[float]:
    """Mark the facts that have an outcome in the ledger; yield the share of the apps that were looked at.

    Raises:
        ClickHouseError: ClickHouse does not answer, or has no ledger.
    """
    apps = staging.apps()
    done = 0
    with ledger_client(settings.clickhouse, reply_timeout_s=REPLY_TIMEOUT_S) as client:
        for group, few in _groups(apps):
            found = _looked_up(client, staging, group) if few else _streamed(client, _ALL_OF, {"apps": group})
            while ids := list(islice(found, IDS_PER_STEP)):
                staging.mark_counted(ids)
                yield done / len(apps)
            done += len(group)
            yield done / len(apps)


def _groups(apps: Sequence[tuple[str, int]]) -> Iterator[tuple[list[str], bool]]:
    """Groups of apps that are asked for together, and whether they have few facts."""
    group: list[str] = []
    facts = 0
    for appid, of_app in (one for one in apps if one[1] <= FEW_FACTS):
        if group and (facts + of_app > FEW_FACTS or len(group) == APPS_PER_QUERY):
            yield group, True
            group, facts = [], 0
        group.append(appid)
        facts += of_app
    if group:
        yield group, True
    for part in _parts([appid for appid, of_app in apps if of_app > FEW_FACTS], APPS_PER_QUERY):
        yield part, False


def _looked_up(client: Client, staging: Staging, apps: list[str]) -> Iterator[tuple[str, str]]:
    """The ids of the ledger that begin as those of the facts: it may have only the first digits of them."""
    ids = [one[:ID_DIGITS_MIN] for appid in apps for one in staging.event_ids(appid)]
    for part in _parts(ids, IDS_PER_QUERY):
        yield from rows(client, _LOOKED_UP, {"apps": apps, "beginnings": part, "length": ID_DIGITS_MIN})


def facts_of_fullest_partition(staging: Staging, kafka: KafkaAccess) -> int:
    """The number of facts that the partition with the most of them gets.

    Raises:
        OperationError: Kafka does not answer.
    """
    partitions = len(offset_spans(kafka, EVENTS))
    facts: Counter[int] = Counter()
    for appid, of_app in staging.apps():
        facts[partition_of(appid.encode(), partitions)] += of_app
    return max(facts.values(), default=0)


def calls_of_ledger(staging: Staging, settings: Settings) -> list[MonthCalls]:
    """The calls that the ledger has beside those of the facts, by app and month of the facts."""
    apps = [appid for appid, _ in staging.apps()]
    counted = staging.counted_calls()
    found: list[MonthCalls] = []
    with ledger_client(settings.clickhouse, reply_timeout_s=REPLY_TIMEOUT_S) as client:
        for part in _parts(apps, APPS_PER_QUERY):
            for appid, month, calls in rows(client, _CALLS, {"apps": part, "kinds": CALL_KINDS}):
                others = calls - counted.get((appid, month), 0)
                if (appid, month) in counted and others > 0:
                    found.append(MonthCalls(appid, month, others))
    return sorted(found)


def _streamed(client: Client, query: str, parameters: dict[str, object]) -> Iterator[tuple[Any, ...]]:
    found: Iterator[tuple[Any, ...]] = client.execute_iter(query, parameters)
    return found


def _parts(names: Sequence[str], length: int) -> Iterator[list[str]]:
    return (list(names[at : at + length]) for at in range(0, len(names), length))
