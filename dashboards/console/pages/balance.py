"""The page of a capability's balance: over time, what was changed afterwards, WeChat's count beside ours."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from dashboards.console.cause_desk import CauseCount, CauseDesk
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.overviews import Overviews
from dashboards.console.pages import usage
from dashboards.console.problems import ConsoleProblem
from dashboards.console.revision_texts import (
    CAUSE_TEXTS,
    CORRECTION_STATES,
    FACT_NAMES,
    LATE_REASONS,
    QUOTA_NAMES,
    REVISION_NAMES,
)
from dashboards.console.usage_window import WINDOWS, WindowChoice, window_of
from dashboards.console.visit import Visit
from dashboards.reads.agreements import QuotaCount, read_agreements
from dashboards.reads.balance_history import DayBalance, read_balance_ahead, read_balance_history
from dashboards.reads.revisions import read_corrections, read_revisions
from metering.times import SHANGHAI, shanghai_date, to_ms

BY_DAY: Final = tuple(choice for choice in WINDOWS if choice.period != "hour")
USUAL: Final = BY_DAY[1]
AHEAD_DAYS: Final[Mapping[str, int]] = {"days": 10, "quarter": 30, "months": 90}
ROWS_SHOWN: Final = 50


class BalancePoint(NamedTuple):
    """A day of the curve; what is not known then is None."""

    begins_ms: int
    left: int | None
    expected: float | None


class BalancePage:
    """The balance of an app."""

    def __init__(self, reads: LedgerReads, overviews: Overviews, causes: CauseDesk | None) -> None:
        self._reads = reads
        self._overviews = overviews
        self._causes = causes
        self._explaining = asyncio.Semaphore(1)

    async def show(self, visit: Visit) -> Response:
        """The page."""
        appid: str = visit.request.path_params["appid"]
        query = visit.request.query_params
        capability = query.get("capability", "quick")
        if capability not in CAPABILITY_NAMES:
            raise ConsoleProblem("not_found")
        choice = next((one for one in BY_DAY if one.name == query.get("window")), USUAL)
        now_ms = (await self._reads.clock()).now_ms
        today, first = shanghai_date(now_ms), window_of(choice, now_ms).first
        end = today + timedelta(days=AHEAD_DAYS[choice.name])
        names, history, ahead, revisions, corrections, counts = await asyncio.gather(
            self._overviews.names(visit.apps),
            self._reads.read(lambda ask: read_balance_history(ask, appid, capability, first, today)),
            self._reads.read(lambda ask: read_balance_ahead(ask, appid, capability, end)),
            self._reads.read(lambda ask: read_revisions(ask, appid, capability, ROWS_SHOWN)),
            self._reads.read(lambda ask: read_corrections(ask, appid, ROWS_SHOWN)),
            self._reads.read(lambda ask: read_agreements(ask, appid, capability, ROWS_SHOWN)),
        )
        points = balance_points(history, ahead)
        values: dict[str, Any] = {
            "appid": appid,
            "capability": capability,
            "capability_names": CAPABILITY_NAMES,
            "cause_texts": CAUSE_TEXTS,
            "causes": await self._explain(appid, counts),
            "choice": choice,
            "columns": _columns(points),
            "correction_states": CORRECTION_STATES,
            "corrections": corrections,
            "counts": counts,
            "fact_names": FACT_NAMES,
            "file_name": f"{appid}-{capability}-balance-{first}-{choice.name}.png",
            "first": first,
            "late_reasons": LATE_REASONS,
            "left": history[-1].left if history else None,
            "name": names.get(appid, appid),
            "points": points,
            "quota_names": QUOTA_NAMES,
            "revision_names": REVISION_NAMES,
            "revisions": revisions,
            "rows_shown": ROWS_SHOWN,
            "today": today,
            "usage_address": lambda code: usage.address(appid, code, choice),
            "windows": BY_DAY,
            "with_choice": lambda code, one: _address(appid, code, one),
        }
        return visit.page("balance.html", values)

    async def _explain(self, appid: str, counts: Sequence[QuotaCount]) -> Sequence[CauseCount] | None:
        """The causes where counts differ; None where nobody is there to tell them."""
        if self._causes is None or not any(count.difference for count in counts):
            return None
        # One at a time: it reads a month of lines.
        async with self._explaining:
            return await asyncio.to_thread(self._causes.causes_of, appid)


def balance_points(history: Sequence[DayBalance], ahead: Mapping[date, float]) -> list[BalancePoint]:
    """The points of the curve; the forecast begins where the balance ends."""
    points = [BalancePoint(_midnight_ms(one.day), one.left, None) for one in history]
    if not history:
        return points
    *before, last = points
    today = history[-1].day
    return [
        *before,
        last._replace(expected=last.left),
        *(BalancePoint(_midnight_ms(day), None, left) for day, left in ahead.items() if day > today),
    ]


def _columns(points: Sequence[BalancePoint]) -> dict[str, object]:
    """The curve as the script of the page draws it."""
    return {
        "period": "day",
        "whole": True,
        "begins": [point.begins_ms // 1_000 for point in points],
        "calls": [point.left for point in points],
        "before": [None for _ in points],
        "expected": [point.expected for point in points],
    }


def _address(appid: str, capability: str, choice: WindowChoice) -> str:
    return usage.address(appid, capability, choice, "/balance")


def _midnight_ms(day: date) -> int:
    return to_ms(datetime.combine(day, time(), SHANGHAI))
