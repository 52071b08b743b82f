"""Use, its cost, and what went wrong: each question with every place that answers it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from metering.ledger import CALL_KINDS
from metering.rating import rate
from metering.rules import Rules
from phonemeter.audit.figures import LedgerFigures
from producers.simulate import simulate
from tests.dashboards.asking import Answer, Asking, Place
from tools.pictures.half_year import PLAN

YUAN = 1_000_000


def used() -> dict[str, Place]:
    """Calls, calls charged to packs and their money, by app."""
    views = ("usage_hourly", "usage_daily", "usage_monthly", "usage_monthly_by_app")
    return {
        "the lines": _used_by_lines,
        "phonemeter rate": _used_by_rate,
        "phonemeter audit": _used_by_audit,
        **{view: _used_by_view(view) for view in views},
        "usage_curve": _used_by_curve,
        "docs/reference/clickhouse.md": _used_by_page,
        "authorizations": lambda on: _rows(
            on,
            on.query(
                "SELECT appid, sum(authorizations.calls), sumIf(authorizations.calls, charged_to = 'pack'), "
                "sum(authorizations.amount_micro_yuan) FROM authorizations GROUP BY appid"
            ),
        ),
    }


def _used_by_lines(on: Asking) -> Answer:
    found: Counter[tuple[str, str]] = Counter()
    for entry in on.ledger.entries:
        if entry.kind in CALL_KINDS:
            found[entry.appid, "calls"] += entry.calls
        if entry.kind == "charge":
            found[entry.appid, "charged"] += entry.calls
            found[entry.appid, "micro_yuan"] += entry.amount_micro_yuan
    return _figures(on, found)


def _used_by_rate(on: Asking) -> Answer:
    found: Counter[tuple[str, str]] = Counter()
    for appid, told in rate((one.value for one in simulate(PLAN)), Rules()).apps.items():
        for name in ("quick", "realtime"):
            use: Any = told[name]
            found[appid, "calls"] += use.succeeded
            found[appid, "charged"] += use.charged
            found[appid, "micro_yuan"] += use.amount_micro_yuan
    return _figures(on, found)


def _used_by_audit(on: Asking) -> Answer:
    """The audit adds charges of the trial to those of packs; these are taken off again."""
    found: Counter[tuple[str, str]] = Counter()
    for entry in on.ledger.entries:
        figures = LedgerFigures()
        figures.count(entry)
        trial = entry.calls if entry.kind == "trial_charge" else 0
        found[entry.appid, "calls"] += entry.calls if entry.kind in CALL_KINDS else 0
        found[entry.appid, "charged"] += figures.calls - trial
        found[entry.appid, "micro_yuan"] += figures.micro_yuan
    return _figures(on, found)


def _used_by_view(view: str) -> Place:
    sums = ", ".join(f"sum({view}.{column})" for column in ("succeeded", "charged", "amount_micro_yuan"))
    return lambda on: _rows(on, on.query(f"SELECT appid, {sums} FROM {view} GROUP BY appid"))  # noqa: S608 - our own names


def _used_by_curve(on: Asking) -> Answer:
    rows = []
    for appid in on.apps:
        curve = f"usage_curve(app = '{appid}', first_day = '2023-01-01', last_day = '2025-12-31')"
        ((calls, charged, money),) = on.query(
            f"SELECT sum(succeeded), sum(charged), sum(amount_micro_yuan) FROM {curve}"  # noqa: S608 - our own names
        )
        rows.append((appid, calls, charged, money))
    return _rows(on, rows)


def _used_by_page(on: Asking) -> Answer:
    found: Counter[tuple[str, str]] = Counter()
    for appid, (kind, calls, yuan) in on.page_by_app("So sum `calls` instead"):
        found[appid, "calls"] += calls
        if kind == "charge":
            found[appid, "charged"] += calls
            found[appid, "micro_yuan"] += round(yuan * YUAN)
    return _figures(on, found)


def _figures(on: Asking, found: Mapping[tuple[str, str], int]) -> Answer:
    return {
        (appid, name): found.get((appid, name), 0)
        for appid in on.apps
        for name in ("calls", "charged", "micro_yuan")
    }


def _rows(on: Asking, rows: list[tuple[Any, ...]]) -> Answer:
    found = {
        (row[0], name): n
        for row in rows
        for name, n in zip(("calls", "charged", "micro_yuan"), row[1:], strict=True)
    }
    return _figures(on, found)


def calls_of_places() -> dict[str, Place]:
    """Calls by app, as lists of the largest have them; Grafana's panel of stores has twelve only."""
    return {
        "usage_monthly_by_app": lambda on: dict(
            on.query(
                "SELECT appid, sum(usage_monthly_by_app.succeeded) FROM usage_monthly_by_app GROUP BY appid"
            )
        ),
        "cookbook: concentration": lambda on: {row[1]: row[3] for row in on.recipe("concentration")},
        "cookbook: burn_by_store": lambda on: dict(
            _summed((row[1], row[3]) for row in on.recipe("burn_by_store"))
        ),
        "docs/reference/clickhouse.md": lambda on: dict(
            _summed((app, row[2]) for app, row in on.page_by_app("Which stores and entry pages used"))
        ),
        "Grafana: burners": lambda on: {row[1]: row[2] for row in on.grafana("fleet_burners")},
        "Grafana: scenes": lambda on: dict(_summed((app, row[1]) for app, row in on.each_app("app_scenes"))),
        "Grafana: hours": lambda on: dict(
            _summed((app, sum(row[1:])) for app, row in on.each_app("app_hours"))
        ),
        "Grafana: curve of an app": lambda on: dict(
            _summed((app, sum(row[1:])) for app, row in on.each_app("app_calls"))
        ),
    }


def _summed(pairs: Iterator[tuple[Any, Any]]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for key, number in pairs:
        found[key] += number
    return found


def month_close() -> dict[str, Place]:
    """Every row of the close: calls and yuan."""

    def row_of(month: str, row: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        appid, capability, *figures = row
        return (month, appid, capability), tuple(round(float(one), 6) for one in figures)

    def by_recipe(on: Asking) -> Answer:
        rows = on.recipe("month_close")
        return dict(
            row_of(f"{row[0]:%Y-%m}", (row[1], row[2], row[4], *row[5:9], row[3], *row[9:])) for row in rows
        )

    return {
        "cookbook: month_close": by_recipe,
        "Grafana: money_close": lambda on: dict(row_of(row[0], row[2:]) for row in on.grafana("money_close")),
    }


def money_of_months() -> dict[str, Place]:
    """Yuan used and lapsed, by month."""

    def some(found: Mapping[str, tuple[float, float]]) -> Answer:
        return {month: (round(a, 6), round(b, 6)) for month, (a, b) in found.items() if a or b}

    def by_close(on: Asking) -> Answer:
        used, lost = (
            _summed((f"{row[0]:%Y-%m}", row[at]) for row in on.recipe("month_close")) for at in (12, 13)
        )
        return some({month: (used[month], lost[month]) for month in used | lost})

    def by_views(on: Asking) -> Answer:
        used = dict(
            on.query(
                "SELECT formatDateTime(month, '%Y-%m') AS m, sum(usage_monthly.amount_micro_yuan) / 1000000 "
                "FROM usage_monthly GROUP BY m"
            )
        )
        lost = dict(
            on.query(
                "SELECT formatDateTime(expired_at, '%Y-%m', 'Asia/Shanghai') AS m, "
                "sum(lapses.amount_micro_yuan) / 1000000 FROM lapses GROUP BY m"
            )
        )
        return some({month: (used.get(month, 0.0), lost.get(month, 0.0)) for month in used | lost})

    return {
        "cookbook: month_close": by_close,
        "usage_monthly and lapses": by_views,
        "Grafana: money_by_month": lambda on: some(
            {row[0]: (row[2], row[3]) for row in on.grafana("money_by_month")}
        ),
    }


def uncovered() -> dict[str, Place]:
    """Calls that nothing covered, by app."""

    def some(found: Counter[Any]) -> Answer:
        return {appid: calls for appid, calls in found.items() if calls}

    def by_lines(on: Asking) -> Answer:
        return some(_summed((one.appid, one.calls) for one in on.ledger.entries if one.kind == "uncovered"))

    return {
        "the lines": by_lines,
        "uncovered": lambda on: dict(on.query("SELECT appid, count() FROM uncovered GROUP BY appid")),
        "usage_daily": lambda on: some(
            Counter(
                dict(on.query("SELECT appid, sum(usage_daily.uncovered) FROM usage_daily GROUP BY appid"))
            )
        ),
        "authorizations": lambda on: dict(
            on.query(
                "SELECT appid, count() FROM authorizations WHERE charged_to = 'uncovered' GROUP BY appid"
            )
        ),
        "docs/reference/clickhouse.md": lambda on: dict(
            _summed((row[1], row[4]) for row in on.page("How many sign-ups were uncovered"))
        ),
        "docs/reference/clickhouse.md: the curve": lambda on: some(
            _summed((app, row[4]) for app, row in on.page_by_app("How did use develop day by day"))
        ),
        "cookbook: uncovered_by_reason": lambda on: some(
            _summed((row[1], row[4]) for row in on.recipe("uncovered_by_reason"))
        ),
        "cookbook: month_close": lambda on: some(
            _summed((row[1], row[10]) for row in on.recipe("month_close"))
        ),
        "Grafana: by day": lambda on: some(
            _summed((on.labelled(row[1]), row[2]) for row in on.grafana("fleet_uncovered"))
        ),
        "Grafana: all apps": lambda on: some(_summed((row[10], row[9]) for row in on.grafana("fleet_table"))),
    }


def duplicates() -> dict[str, Place]:
    return {
        "the lines": lambda on: {"duplicates": sum(one.kind == "duplicate" for one in on.ledger.entries)},
        "usage_daily": lambda on: {
            "duplicates": on.query("SELECT sum(usage_daily.duplicates) FROM usage_daily")[0][0]
        },
        "cookbook: duplicates_by_source": lambda on: {
            "duplicates": sum(row[1] for row in on.recipe("duplicates_by_source"))
        },
        "Grafana: sources": lambda on: {"duplicates": sum(row[2] for row in on.grafana("pipeline_sources"))},
    }


def differences_to_the_platform() -> dict[str, Place]:
    return {
        "platform_usage": lambda on: {
            row[:2]: row[2]
            for row in on.query("SELECT appid, pack_id, difference FROM platform_usage ORDER BY observed_at")
        },
        "cookbook: reconciliation": lambda on: {
            (row[0], row[2]): row[6] for row in on.recipe("reconciliation")
        },
    }
