"""The reads of one app that the ledger and the clock decide: balance, packs, use and alerts."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import Struct

from dashboards.http.answers import AlertsPage, BalanceAnswer, PacksPage, UsagePage
from dashboards.http.cursors import read_cursor, write_cursor
from dashboards.http.errors import NothingFoundError, WrongParameterError
from dashboards.http.parameters import (
    DAYS_READ,
    FIRST_DAY,
    LAST_DAY,
    AlertsParameters,
    NoParameters,
    PacksParameters,
    PageParameters,
    UsageParameters,
)
from dashboards.http.tags import Standing
from dashboards.reads.alerts import BEHIND_ALERTS, read_alerts
from dashboards.reads.asking import Ask
from dashboards.reads.balance import find_balance
from dashboards.reads.packs import BEFORE_PACKS, place_of, read_packs
from dashboards.reads.usage import BEFORE_USAGE, DAYS_DEFAULT, DAYS_MAX, UsageQuestion, read_usage
from metering.http_endpoints import app_not_found
from metering.times import DAY_MS, format_time, shanghai_date, shanghai_midnight


class AppQuestion(NamedTuple):
    """A question about an app.

    Attributes:
        list_of: what a cursor belongs to: the read, the app, the apps of the key, and the parameters.
    """

    appid: str
    given: Struct
    list_of: object
    standing: Standing
    complete_until: str | None

    @property
    def head(self) -> dict[str, Any]:
        """The beginning of every answer."""
        return {
            "appid": self.appid,
            "as_of": format_time(self.standing.now_ms),
            "runs_on": self.standing.runs_on,
            "complete_until": self.complete_until,
        }

    def place(self, given: PageParameters, kind: type[Any], first: object) -> Any:  # noqa: ANN401 - a place
        """The place that the cursor tells, or that of the first page."""
        return first if given.cursor is None else read_cursor(self.list_of, given.cursor, kind)

    def cursor(self, places: list[Any], limit: int) -> str | None:
        """The cursor behind a page of which one row more was read than it has."""
        return write_cursor(self.list_of, places[limit - 1]) if len(places) > limit else None


class Found(NamedTuple):
    """An answer, and when the clock alone changes it: None if never, 0 if that is not known."""

    answer: Struct
    changes_ms: int | None


AppReader = Callable[[Ask, AppQuestion], Found]


def balance(ask: Ask, question: AppQuestion) -> Found:
    """`/balance`."""
    found = find_balance(ask, question.appid)
    if found is None:
        raise NothingFoundError(app_not_found(question.appid))
    answer = BalanceAnswer(**msgspec.structs.asdict(found.balance), complete_until=question.complete_until)
    return Found(answer, found.changes_ms)


def packs(ask: Ask, question: AppQuestion) -> Found:
    """`/packs`."""
    given = cast("PacksParameters", question.given)
    found = read_packs(
        ask,
        question.appid,
        capability=given.capability or "",
        status=given.status or "",
        after=question.place(given, tuple[str, int, int, str], BEFORE_PACKS),
        most=given.limit + 1,
    )
    following = question.cursor([place_of(pack) for pack in found.packs], given.limit)
    return Found(
        PacksPage(**question.head, packs=found.packs[: given.limit], next=following), found.changes_ms
    )


def usage(ask: Ask, question: AppQuestion) -> Found:
    """`/usage`."""
    given = cast("UsageParameters", question.given)
    today = shanghai_date(question.standing.now_ms)
    first, last, *after = question.place(
        given, tuple[date, date, str, str, str, str], (*_days(given, today), *BEFORE_USAGE)
    )
    asked = UsageQuestion(given.period, first, last + timedelta(days=1), given.group, given.capability or "")
    found = read_usage(ask, question.appid, asked, after=after, most=given.limit + 1)
    following = question.cursor([(first, last, *place) for place in found.places], given.limit)
    answer = UsagePage(
        **question.head,
        period=given.period,
        first_day=first.isoformat(),
        last_day=last.isoformat(),
        usage=found.rows[: given.limit],
        next=following,
    )
    tomorrow_ms = shanghai_midnight(question.standing.now_ms) + DAY_MS
    return Found(answer, None if given.to or given.cursor else tomorrow_ms)


def alerts(ask: Ask, question: AppQuestion) -> Found:
    """`/alerts`."""
    given = cast("AlertsParameters", question.given)
    found = read_alerts(
        ask,
        question.appid,
        capability=given.capability or "",
        reason=given.reason or "",
        level=given.level,
        state=given.state or "",
        before=question.place(given, tuple[int, str], BEHIND_ALERTS),
        most=given.limit + 1,
    )
    following = question.cursor(found.places, given.limit)
    return Found(
        AlertsPage(**question.head, alerts=found.alerts[: given.limit], next=following), found.changes_ms
    )


def _days(given: UsageParameters, today: date) -> tuple[date, date]:
    """The first and the last day that are asked for.

    Raises:
        WrongParameterError: they are too far from each other, or from now.
    """
    for day in (given.from_, given.to):
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            raise WrongParameterError(f"from and to lie between {DAYS_READ}.")
    last = given.to or today
    first = given.from_ or last - timedelta(days=DAYS_DEFAULT[given.period] - 1)
    if first > last:
        raise WrongParameterError(f"from ({first}) is after to ({last}).")
    most = DAYS_MAX[given.period]
    if (last - first).days >= most:
        raise WrongParameterError(
            f"from and to are {(last - first).days + 1:,} days; by the {given.period} {most:,} are the most."
        )
    return first, last


PARAMETERS: Final[dict[str, type[Struct]]] = {
    "balance": NoParameters,
    "packs": PacksParameters,
    "usage": UsageParameters,
    "alerts": AlertsParameters,
}
READERS: Final[dict[str, AppReader]] = {"balance": balance, "packs": packs, "usage": usage, "alerts": alerts}
