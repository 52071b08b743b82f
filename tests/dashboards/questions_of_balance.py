"""The calls left, until when, and what day that is: each question with every place that answers it."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from metering.times import SHANGHAI, format_time, parse_time, shanghai_date, to_ms
from phonemeter.audit.apps_summary import NEAREST_MAX, read_summary
from phonemeter.cli.balance import read_balance
from phonemeter.cli.forecast import read_forecast
from tests.dashboards.asking import Answer, Asking, Place

YUAN = 1_000_000


def calls_left() -> dict[str, Place]:
    def by_rules(on: Asking) -> Answer:
        return {
            (appid, capability): account.trial_left(use)
            + sum(pack.remaining for pack in use.open if pack.covers(on.now_ms))
            for appid, capability, account, use in on.uses()
        }

    def by_trial_and_packs(on: Asking) -> Answer:
        trial = {(row[0], row[1]): row[3] for row in on.recipe("trial_left")}
        packs: Counter[tuple[str, str]] = Counter()
        for appid, capability, left in on.query(
            "SELECT appid, capability, remaining FROM packs WHERE status = 'active'"
        ):
            packs[appid, capability] += left
        return {
            (appid, capability): trial[appid, ""] + packs[appid, capability]
            for appid, capability, *_ in on.uses()
        }

    def by_balance(on: Asking) -> Answer:
        return {
            (appid, name): one.calls_left
            for appid in on.apps
            for name, one in read_balance(on.url, appid).capabilities.items()
        }

    def by_run_out(on: Asking) -> Answer:
        """The recipe has those in use; the others are taken from the view."""
        rows = on.query("SELECT appid, capability, calls_left FROM balances_now")
        return {row[:2]: row[2] for row in rows} | {row[:2]: row[2] for row in on.recipe("run_out")}

    def by_metric(on: Asking) -> Answer:
        rows = on.query("SELECT appid, capability, calls_left FROM balances_now")
        near = read_summary(on.url).nearest
        return {row[:2]: row[2] for row in rows} | {
            (one.appid, one.capability): one.calls_left for one in near
        }

    return {
        "the rules": by_rules,
        "balances_now": lambda on: {
            row[:2]: row[2] for row in on.query("SELECT appid, capability, calls_left FROM balances_now")
        },
        "cookbook: trial_left, and packs": by_trial_and_packs,
        "phonemeter balance": by_balance,
        "cookbook: run_out": by_run_out,
        "metric phonemeter_app_calls_left": by_metric,
        "Grafana: one app": lambda on: {(app, row[0]): row[1] for app, row in on.each_app("app_left")},
        "Grafana: all apps": lambda on: {(row[10], row[1]): row[3] for row in on.grafana("fleet_table")},
    }


def run_out() -> dict[str, Place]:
    """Days from now, to the tenth as people are shown them; None if not within three years."""

    def days(on: Asking, at_ms: int | None) -> float | None:
        return None if at_ms is None else round((at_ms - on.now_ms) // 1_000 / 86_400, 1)

    def by_forecast(on: Asking) -> Answer:
        return {
            (appid, name): days(on, one.run_out_ms)
            for appid in on.apps
            for name, one in read_forecast(on.url, appid).capabilities.items()
            if one.pace.micro_calls_a_day
        }

    def by_view(on: Asking) -> Answer:
        rows = on.query(
            "SELECT appid, capability, toUnixTimestamp64Milli(run_out_at) FROM forecasts "
            "WHERE calls_a_day > 0"
        )
        return {row[:2]: days(on, row[2]) for row in rows}

    def by_app_page(on: Asking) -> Answer:
        shown = {(app, row[0]): days(on, row[1]) for app, row in on.each_app("app_run_out")}
        return {key: shown.get(key) for key in by_view(on)}

    def by_metric(on: Asking) -> Answer:
        near = read_summary(on.url).nearest
        assert len(near) < NEAREST_MAX
        shown = {(one.appid, one.capability): round(one.run_out_s // 1 / 86_400, 1) for one in near}
        return {key: shown.get(key) for key in by_view(on)}

    def by_documentation(on: Asking) -> Answer:
        """The answer of the page's query for apps in use."""
        rows = on.page("When will what is left be used up")
        return {row[:2]: days(on, None if row[3] is None else to_ms(row[3])) for row in rows if row[2]}

    return {
        "phonemeter forecast": by_forecast,
        "forecasts": by_view,
        "docs/reference/clickhouse.md": by_documentation,
        "cookbook: run_out": lambda on: {row[:2]: row[4] for row in on.recipe("run_out")},
        "metric phonemeter_app_run_out_seconds": by_metric,
        "Grafana: one app": by_app_page,
        "Grafana: all apps": lambda on: {
            (row[10], row[1]): row[6] for row in on.grafana("fleet_table") if row[5] > 0
        },
    }


def pace() -> dict[str, Place]:
    """Calls of a mean day, to the tenth."""

    def by_forecast(on: Asking) -> Answer:
        return {
            (appid, name): round(one.pace.micro_calls_a_day / YUAN, 1)
            for appid in on.apps
            for name, one in read_forecast(on.url, appid).capabilities.items()
            if one.pace.micro_calls_a_day
        }

    return {
        "phonemeter forecast": by_forecast,
        "paces": lambda on: {
            row[:2]: round(row[2], 1)
            for row in on.query("SELECT appid, capability, calls_a_day FROM paces WHERE calls_a_day > 0")
        },
        "cookbook: run_out": lambda on: {row[:2]: row[3] for row in on.recipe("run_out")},
        "Grafana: all apps": lambda on: {
            (row[10], row[1]): row[5] for row in on.grafana("fleet_table") if row[5] > 0
        },
    }


def lapsing() -> dict[str, Place]:
    """Calls that will lapse, by pack; packs that will lose none are left out."""

    def some(found: Mapping[Any, int | None]) -> Answer:
        return {pack: calls for pack, calls in found.items() if calls}

    def by_forecast(on: Asking) -> Answer:
        return some(
            {
                pack.pack_id: pack.lapsing
                for appid in on.apps
                for one in read_forecast(on.url, appid).capabilities.values()
                for pack in one.packs
            }
        )

    return {
        "phonemeter forecast": by_forecast,
        "forecast_packs": lambda on: some(dict(on.query("SELECT pack_id, lapsing FROM forecast_packs"))),
        "cookbook: packs_that_will_lapse": lambda on: some(
            {row[2]: row[7] for row in on.recipe("packs_that_will_lapse")}
        ),
        "Grafana: one app": lambda on: some({row[1]: row[8] for _, row in on.each_app("app_packs")}),
        "Grafana: money": lambda on: some({row[3]: row[6] for row in on.grafana("money_lapsing_packs")}),
    }


def lapsing_money() -> dict[str, Place]:
    """The worth of these calls together, in yuan, and their number."""

    def of(yuan: float, calls: int) -> Answer:
        return {"yuan": round(yuan, 6), "calls": calls}

    def by_recipe(on: Asking) -> Answer:
        rows = on.recipe("packs_that_will_lapse")
        return of(sum(row[8] for row in rows), sum(row[7] for row in rows))

    def by_month(on: Asking) -> Answer:
        ((calls,),) = on.grafana("money_will_lapse_calls")
        return of(sum(row[1] for row in on.grafana("money_lapsing_by_month")), calls)

    def by_panels(on: Asking) -> Answer:
        ((yuan,),), ((calls,),) = on.grafana("money_will_lapse"), on.grafana("money_will_lapse_calls")
        return of(yuan, calls)

    def by_pack(on: Asking) -> Answer:
        rows = on.grafana("money_lapsing_packs")
        return of(sum(row[7] for row in rows), sum(row[6] for row in rows))

    return {
        "cookbook: packs_that_will_lapse": by_recipe,
        "Grafana: by month": by_month,
        "Grafana: panels": by_panels,
        "Grafana: by pack": by_pack,
    }


def held() -> dict[str, Place]:
    """The calls that each pack which was not given back still holds, expired or not."""
    return {
        "the rules": lambda on: {
            pack.pack_id: pack.remaining
            for *_, use in on.uses()
            for pack in use.packs
            if pack.pack_id not in {one.pack.pack_id for one in use.closed if one.status == "refunded"}
        },
        "packs": lambda on: dict(on.query("SELECT pack_id, remaining FROM packs WHERE status != 'refunded'")),
        "pack_burndown": lambda on: dict(
            on.query(
                "SELECT pack_id, argMax(pack_burndown.remaining, day) FROM pack_burndown GROUP BY pack_id "
                "HAVING sum(refunded) = 0"
            )
        ),
        "phonemeter balance": lambda on: {
            pack.pack_id: pack.remaining
            for appid in on.apps
            for one in read_balance(on.url, appid).capabilities.values()
            for pack in one.packs
            if pack.status != "refunded"
        },
        "Grafana: one app": lambda on: {
            row[1]: row[3] for _, row in on.each_app("app_packs") if row[2] != "refunded"
        },
    }


def expiring() -> dict[str, Place]:
    """The packs that will expire with calls in them, and what they hold."""

    def by_balance(on: Asking) -> Answer:
        packs = [
            (pack.expires_at, appid, name, pack.pack_id, pack.remaining)
            for appid in on.apps
            for name, one in read_balance(on.url, appid).capabilities.items()
            for pack in one.packs
            if pack.status in {"active", "pending"} and pack.remaining
        ]
        return {pack_id: (appid, name, left, at) for at, appid, name, pack_id, left in packs}

    return {
        "phonemeter balance": by_balance,
        "docs/reference/clickhouse.md": lambda on: {
            row[2]: (row[0], row[1], row[4], format_time(to_ms(row[3])))
            for row in on.page("Which packs expire next")
        },
    }


def out_of_calls() -> dict[str, Place]:
    def by_status(on: Asking) -> Answer:
        return {"apps": sum(row[2] == "out" for row in on.grafana("fleet_table"))}

    return {
        "Grafana: the figure": lambda on: {"apps": on.grafana("fleet_out")[0][0]},
        "Grafana: the table": by_status,
        "metric phonemeter_apps_out_of_calls": lambda on: {
            "apps": sum(read_summary(on.url).out_of_calls.values())
        },
    }


def apps() -> dict[str, Place]:
    return {
        "the rules": lambda on: {"apps": len({appid for appid, *_ in on.uses()})},
        "apps": lambda on: {"apps": on.query("SELECT count() FROM apps")[0][0]},
        "balances_now": lambda on: {"apps": on.query("SELECT uniqExact(appid) FROM balances_now")[0][0]},
        "metric phonemeter_apps": lambda on: {"apps": read_summary(on.url).apps},
        "Grafana: the figure": lambda on: {"apps": on.grafana("fleet_apps")[0][0]},
        "Grafana: the choice": lambda on: {"apps": len(on.grafana("var_app"))},
    }


def _days(rows: list[tuple[Any, ...]]) -> list[date]:
    return [row[0].astimezone(SHANGHAI).date() for row in rows]


def today() -> dict[str, Place]:
    """The Shanghai day that everything takes for today."""

    def of(day: date) -> Answer:
        return {"today": day}

    return {
        "clock": lambda on: of(on.query("SELECT toDate(now, 'Asia/Shanghai') FROM clock")[0][0]),
        "the newest line": lambda on: of(shanghai_date(on.now_ms)),
        "forecast_daily": lambda on: of(on.query("SELECT min(day) FROM forecast_daily")[0][0]),
        "paces": lambda on: of(on.query("SELECT DISTINCT last_day + 1 FROM paces")[0][0]),
        "pack_burndown": lambda on: of(
            on.query(
                "SELECT max(day) FROM pack_burndown "
                "WHERE pack_id IN (SELECT pack_id FROM packs WHERE status = 'active')"
            )[0][0]
        ),
        "phonemeter forecast": lambda on: of(shanghai_date(read_forecast(on.url, on.apps[0]).as_of_ms)),
        "phonemeter balance": lambda on: of(
            shanghai_date(parse_time(read_balance(on.url, on.apps[0]).as_of))
        ),
        "Grafana: the curve ends": lambda on: of(max(_days(on.grafana("app_calls", on.apps[0])))),
        "Grafana: the day before the expected": lambda on: of(
            min(_days(on.grafana("app_expected", on.apps[0]))) - timedelta(days=1)
        ),
    }
