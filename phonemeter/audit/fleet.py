"""The apps nearest to trouble, read from the views on the ledger: few enough to be metrics."""

import heapq
from typing import Any, Final

from clickhouse_driver import Client
from msgspec import Struct

from phonemeter.cli.asking import asking
from sinks.connection import rows

NEAREST_MAX: Final = 20
"""Apps and capabilities that are told one by one: each is a series that Prometheus keeps."""

_RUN_OUTS: Final = f"""
WITH (SELECT toUnixTimestamp64Milli(max(time)) FROM ledger) AS now_ms
SELECT
    capability,
    count(),
    countIf(run_out_at IS NOT NULL AND toUnixTimestamp64Milli(assumeNotNull(run_out_at)) <= now_ms),
    arraySlice(arraySort(groupArrayIf(
        (toUnixTimestamp64Milli(assumeNotNull(run_out_at)) - now_ms, appid), run_out_at IS NOT NULL
    )), 1, {NEAREST_MAX:d})
FROM forecasts
GROUP BY capability
ORDER BY capability
"""  # noqa: S608 - our own number

_CALLS_LEFT: Final = "SELECT appid, capability, calls_left FROM balances_now WHERE appid IN %(appids)s"


class Near(Struct, frozen=True):
    """An app that runs out soon.

    Attributes:
        appid, capability: which one.
        calls_left: what trial quota and active packs hold.
        run_out_s: forecast run-out, in seconds from the newest time in the ledger.
    """

    appid: str
    capability: str
    calls_left: int
    run_out_s: float


class Fleet(Struct, frozen=True):
    """All apps in a few figures.

    Attributes:
        apps: how many the ledger knows.
        out_of_calls: per capability, how many have none left although some would be used.
        nearest: those that run out first, soonest first, at most `NEAREST_MAX`.
    """

    apps: int = 0
    out_of_calls: dict[str, int] = {}
    nearest: tuple[Near, ...] = ()


def read_fleet(url: str) -> Fleet:
    """The fleet as ClickHouse at `url` has it.

    Raises:
        OperationError: ClickHouse does not answer, or it has no ledger yet.
    """
    with asking(url) as client:
        found = rows(client, _RUN_OUTS)
        return Fleet(
            apps=max((apps for _, apps, _, _ in found), default=0),
            out_of_calls={capability: out for capability, _, out, _ in found},
            nearest=_nearest(client, found),
        )


def _nearest(client: Client, found: list[tuple[Any, ...]]) -> tuple[Near, ...]:
    soonest = heapq.nsmallest(
        NEAREST_MAX,
        ((run_out_ms, appid, capability) for capability, _, _, near in found for run_out_ms, appid in near),
    )
    if not soonest:
        return ()
    appids = tuple({appid for _, appid, _ in soonest})
    left = {(appid, of): calls for appid, of, calls in rows(client, _CALLS_LEFT, {"appids": appids})}
    return tuple(
        Near(appid, capability, left.get((appid, capability), 0), max(0.0, run_out_ms / 1_000))
        for run_out_ms, appid, capability in soonest
    )
