"""A summary of all apps from the views on the ledger, with the few that run out first."""

import heapq
from typing import Any, Final

from clickhouse_driver import Client
from msgspec import Struct

from phonemeter.clickhouse import ledger_client
from sinks.connection import rows

NEAREST_MAX: Final = 20
"""Apps and capabilities with series of their own, which Prometheus keeps."""

_RUN_OUTS: Final = f"""
WITH (SELECT toUnixTimestamp64Milli(now) FROM clock) AS now_ms
SELECT
    capability,
    count(),
    countIf(balances_now.calls_left <= 0 AND forecasts.calls_a_day > 0 AND NOT exempt),
    arraySlice(arraySort(groupArrayIf(
        (toUnixTimestamp64Milli(assumeNotNull(run_out_at)) - now_ms, appid), run_out_at IS NOT NULL
    )), 1, {NEAREST_MAX:d})
FROM forecasts
INNER JOIN balances_now USING (appid, capability)
LEFT JOIN apps USING (appid)
GROUP BY capability
ORDER BY capability
"""  # noqa: S608 - our own number

_CALLS_LEFT: Final = "SELECT appid, capability, calls_left FROM balances_now WHERE appid IN %(appids)s"

_DIFFERENCES: Final = f"""
SELECT appid, capability, pack_id, difference, dateDiff('second', since, observed_at), count() OVER ()
FROM agreement
WHERE stays
ORDER BY abs(difference) DESC, appid, capability, pack_id
LIMIT {NEAREST_MAX:d}
"""  # noqa: S608 - our own number


class NearRunOut(Struct, frozen=True):
    """An app that by its forecast runs out in `run_out_s`; calls are left in trial quota and active packs."""

    appid: str
    capability: str
    calls_left: int
    run_out_s: float


class StayingDifference(Struct, frozen=True):
    """A quota of which the platform has counted `calls` more than we, the same for `lasting_s`."""

    appid: str
    capability: str
    pack_id: str
    calls: int
    lasting_s: int


class AppsSummary(Struct, frozen=True):
    """All apps in a few figures.

    Attributes:
        apps: number of apps in the ledger.
        out_of_calls: number of apps per capability that have no call left although they would use some.
        nearest: the apps that run out first, soonest first, at most `NEAREST_MAX`.
        differing: number of quotas whose difference to the platform's count stays.
        differences: the largest of them, at most `NEAREST_MAX`.
    """

    apps: int = 0
    out_of_calls: dict[str, int] = {}
    nearest: tuple[NearRunOut, ...] = ()
    differing: int = 0
    differences: tuple[StayingDifference, ...] = ()


def read_summary(url: str) -> AppsSummary:
    """Read the summary from the ClickHouse at `url`.

    Raises:
        OperationError: ClickHouse does not answer, or it has no ledger yet.
    """
    with ledger_client(url) as client:
        found = rows(client, _RUN_OUTS)
        differences = rows(client, _DIFFERENCES)
        return AppsSummary(
            apps=max((apps for _, apps, _, _ in found), default=0),
            out_of_calls={capability: out for capability, _, out, _ in found},
            nearest=_nearest(client, found),
            differing=max((count for *_, count in differences), default=0),
            differences=tuple(StayingDifference(*fields) for *fields, _ in differences),
        )


def _nearest(client: Client, found: list[tuple[Any, ...]]) -> tuple[NearRunOut, ...]:
    soonest = heapq.nsmallest(
        NEAREST_MAX,
        ((run_out_ms, appid, capability) for capability, _, _, near in found for run_out_ms, appid in near),
    )
    if not soonest:
        return ()
    appids = tuple({appid for _, appid, _ in soonest})
    left = {(appid, of): calls for appid, of, calls in rows(client, _CALLS_LEFT, {"appids": appids})}
    return tuple(
        NearRunOut(appid, capability, left.get((appid, capability), 0), max(0.0, run_out_ms / 1_000))
        for run_out_ms, appid, capability in soonest
    )
