"""The rows of the overview: what is left of each app and capability, until when, and what to decide today."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, Literal, NamedTuple

from dashboards.console.languages import marked
from dashboards.reads.app_names import unique_names
from dashboards.reads.apps import AppOutlook, CapabilityOutlook
from dashboards.reads.differences import Differences
from dashboards.reads.recent_use import RecentUse
from metering.times import DAY_MS, parse_time

RECENT_DAYS: Final = 28
RUN_OUT_DAYS: Final = 7
LAPSE_DAYS: Final = 30

Level = Literal["danger", "warn", ""]
SortKey = Literal["today", "name", "left", "run_out", "lapse", "used"]
SORT_KEYS: Final[tuple[SortKey, ...]] = ("today", "name", "left", "run_out", "lapse", "used")

CAPABILITY_NAMES: Final[Mapping[str, str]] = {
    "quick": marked("Quick verification"),
    "realtime": marked("Real-time verification"),
}


class PendingDecision(NamedTuple):
    """The matters that an owner should look at today.

    Attributes:
        name: by which pages know it.
        rank: the most urgent has the lowest.
        level: how it is shown.
        text: in English, marked for translation; empty if there is nothing to decide.
    """

    name: str
    rank: int
    level: Level
    text: str


REFUSED: Final = PendingDecision("refused", 0, "danger", marked("WeChat refuses calls"))
USED_UP: Final = PendingDecision("used_up", 1, "danger", marked("Used up"))
UNCOVERED: Final = PendingDecision("uncovered", 2, "danger", marked("Calls without quota"))
RUNS_OUT: Final = PendingDecision("runs_out", 3, "warn", marked("Runs out soon"))
LAPSES: Final = PendingDecision("lapses", 4, "warn", marked("Calls will lapse"))
BURNS: Final = PendingDecision("burns", 5, "warn", marked("Unusual use"))
DIFFERS: Final = PendingDecision("differs", 6, "warn", marked("Differs from WeChat"))
NOTHING: Final = PendingDecision("nothing", 9, "", "")


class OverviewRow(NamedTuple):
    """One capability of an app.

    Attributes:
        appid: of the app.
        name: what the app is called: its name, with the appid if several have that name.
        capability: quick or realtime.
        exempt: True if nothing is charged.
        left: calls that are left.
        pending: calls in packs that are not valid yet.
        run_out_at_ms: when they run out; None if not within three years.
        lapses_at_ms, lapsing: the next expiry with which calls will lapse, and their number.
        days: calls of each of the last days, the last of which is today.
        decision: what to decide today.
        difference: calls that WeChat's count has more; None where it is not known.
    """

    appid: str
    name: str
    capability: str
    exempt: bool
    left: int
    pending: int
    run_out_at_ms: int | None
    lapses_at_ms: int | None
    lapsing: int
    days: tuple[int, ...]
    decision: PendingDecision
    difference: int | None

    @property
    def used(self) -> int:
        """Calls of the last days."""
        return sum(self.days)


def overview_rows(
    apps: Sequence[AppOutlook],
    use: RecentUse,
    differences: Differences,
    today: date,
    now_ms: int,
) -> list[OverviewRow]:
    """The rows, the most urgent first; a capability that an app does not use has none."""
    names = unique_names({app.appid: app.name for app in apps})
    days = [today - timedelta(days=ago) for ago in reversed(range(RECENT_DAYS))]
    rows = []
    for app in apps:
        for capability, outlook in app.capabilities.items():
            if not _is_in_use(app, capability, outlook, use, days):
                continue
            difference = differences.get((app.appid, capability))
            rows.append(
                OverviewRow(
                    app.appid,
                    names[app.appid],
                    capability,
                    app.exempt,
                    outlook.calls_left,
                    outlook.packs_pending,
                    _ms(outlook.run_out_at),
                    _ms(outlook.lapses_at),
                    outlook.lapsing,
                    tuple(use.on(app.appid, capability, day) for day in days),
                    _decision(app, outlook, difference, now_ms),
                    difference,
                )
            )
    return sorted_rows(rows, "today", descending=False)


def sorted_rows(rows: Sequence[OverviewRow], key: SortKey, *, descending: bool) -> list[OverviewRow]:
    """The rows in an order; those without a value come last in both directions."""
    value = _VALUES[key]
    valued = [row for row in rows if value(row) is not None]
    valued.sort(key=lambda row: (row.name, row.capability))
    valued.sort(key=value, reverse=descending)
    return valued + [row for row in rows if value(row) is None]


def matching_rows(rows: Sequence[OverviewRow], search: str) -> list[OverviewRow]:
    """The rows whose app has a text in its name or appid, in any case."""
    wanted = search.casefold()
    return [row for row in rows if wanted in row.name.casefold() or wanted in row.appid.casefold()]


_VALUES: Final[Mapping[SortKey, Callable[[OverviewRow], Any]]] = {
    "today": lambda row: (row.decision.rank, row.run_out_at_ms or 2**62),
    "name": lambda row: row.name,
    "left": lambda row: None if row.exempt else row.left,
    "run_out": lambda row: row.run_out_at_ms,
    "lapse": lambda row: row.lapses_at_ms,
    "used": lambda row: row.used,
}


def _decision(
    app: AppOutlook, outlook: CapabilityOutlook, difference: int | None, now_ms: int
) -> PendingDecision:
    alerts = set(outlook.alerts)
    run_out_ms, lapses_ms = _ms(outlook.run_out_at), _ms(outlook.lapses_at)
    found: tuple[tuple[PendingDecision, bool], ...] = (
        (REFUSED, "refused" in alerts),
        (USED_UP, outlook.calls_left == 0),
        (UNCOVERED, "uncovered" in alerts),
        (RUNS_OUT, run_out_ms is not None and run_out_ms < now_ms + RUN_OUT_DAYS * DAY_MS),
        (LAPSES, lapses_ms is not None and lapses_ms < now_ms + LAPSE_DAYS * DAY_MS),
        (BURNS, bool(alerts & {"minute_burn", "client_burn"})),
        (DIFFERS, bool(difference)),
    )
    if app.exempt or app.migrated_to:
        found = found[-2:]
    return next((decision for decision, holds in found if holds), NOTHING)


def _is_in_use(
    app: AppOutlook, capability: str, outlook: CapabilityOutlook, use: RecentUse, days: Sequence[date]
) -> bool:
    """Return whether a row would tell anything: quick does for an app that uses neither."""

    def used(name: str, one: CapabilityOutlook) -> bool:
        has_packs = bool(one.packs_pending or one.next_expires_at)
        was_used = any(use.on(app.appid, name, day) for day in days)
        return has_packs or was_used or bool({*one.alerts} - {"level", "run_out"})

    if used(capability, outlook):
        return True
    return capability == "quick" and not any(used(name, one) for name, one in app.capabilities.items())


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_time(text)
