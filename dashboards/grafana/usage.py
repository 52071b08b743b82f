"""What the dashboard shows: one app's use, packs, uncovered calls and cost, and how fresh all of it is."""

from typing import Final

from dashboards.grafana.panels import Json, Panel, choice_variable, laid_out, query_variable

VARIABLES: Final = (
    query_variable("app", "App", "SELECT DISTINCT appid FROM balances_now ORDER BY appid", multi=False),
    choice_variable("capability", "Capability", ("quick", "realtime")),
    query_variable(
        "store",
        "Store",
        "SELECT DISTINCT store FROM usage_daily WHERE appid = '${app}' ORDER BY store",
        multi=True,
    ),
)

_DAYS: Final = "day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')"
_CHOSEN: Final = "appid = '${app}' AND capability IN (${capability:singlequote})"
_CHOSEN_STORES: Final = f"{_CHOSEN} AND store IN (${{store:singlequote}})"
_CALLS: Final = ("charged", "trial_charged", "free", "exempt", "uncovered")


def _by_day(*columns: str) -> str:
    """A series per column by Shanghai day, with zeros for the days without any."""
    sums = ", ".join(f"sum(usage_daily.{name}) AS {name}" for name in columns)
    return (
        f"SELECT toDateTime(day, 'Asia/Shanghai') AS time, {', '.join(columns)} FROM ("  # noqa: S608 - our own names
        f"SELECT day, {sums} FROM usage_daily WHERE {_CHOSEN_STORES} AND {_DAYS} GROUP BY day ORDER BY day "
        "WITH FILL FROM toDate($__fromTime, 'Asia/Shanghai') TO toDate($__toTime, 'Asia/Shanghai') + 1"
        ") ORDER BY time"
    )


def _by(column: str) -> str:
    return (
        f"SELECT if({column} = '', '(none)', {column}) AS {column}, sum(usage_daily.succeeded) AS calls "  # noqa: S608 - our own names
        f"FROM usage_daily WHERE {_CHOSEN_STORES} AND {_DAYS} GROUP BY usage_daily.{column} "
        "ORDER BY calls DESC LIMIT 50"
    )


PANELS: Final = (
    Panel(
        "Calls left",
        "stat",
        f"SELECT capability, calls_left FROM balances_now WHERE {_CHOSEN} ORDER BY capability",  # noqa: S608 - our own names
        8,
        4,
        description="Trial quota and active packs. A trial quota that both capabilities share is in both.",
    ),
    Panel(
        "Next expiry of a pack",
        "stat",
        "SELECT capability, toUnixTimestamp64Milli(assumeNotNull(next_expires_at)) AS expires "  # noqa: S608 - our own names
        f"FROM balances_now WHERE {_CHOSEN} AND next_expires_at IS NOT NULL ORDER BY capability",
        8,
        4,
        unit="dateTimeFromNow",
    ),
    Panel(
        "Age of the newest line",
        "stat",
        "phonemeter_sink_newest_line_age_seconds",
        4,
        4,
        unit="s",
        prometheus=True,
        description="How old everything on this page may be.",
    ),
    Panel(
        "Ledger records waiting",
        "stat",
        "sum(phonemeter_sink_lag_records)",
        4,
        4,
        prometheus=True,
        description="Records of phone-ledger that are not in ClickHouse yet.",
    ),
    Panel("Calls by day", "timeseries", _by_day(*_CALLS), 16, stacked=True),
    Panel("Not succeeded, by day", "timeseries", _by_day("denied", "failed", "duplicates"), 8, stacked=True),
    Panel(
        "Calls by hour",
        "timeseries",
        "SELECT usage_hourly.hour AS time, "  # noqa: S608 - our own names
        + ", ".join(f"sum(usage_hourly.{name}) AS {name}" for name in _CALLS)
        + f" FROM usage_hourly WHERE {_CHOSEN_STORES} AND $__timeFilter(usage_hourly.hour) "
        "GROUP BY time ORDER BY time",
        16,
        stacked=True,
    ),
    Panel(
        "Cost by day",
        "timeseries",
        _by_day("amount_micro_yuan").replace(
            "AS time, amount_micro_yuan", "AS time, amount_micro_yuan / 1000000 AS yuan"
        ),
        8,
        unit="currencyCNY",
        stacked=True,
        description="What the charged calls cost, at the price of the packs they came from.",
    ),
    Panel("By scene", "barchart", _by("scene"), 12),
    Panel("By store", "barchart", _by("store"), 12),
    Panel(
        "Packs",
        "table",
        "SELECT capability, pack_id, status, remaining, calls, charged, lapsed, starts_at, expires_at, "  # noqa: S608 - our own names
        f"amount_micro_yuan / 1000000 AS cost FROM packs WHERE {_CHOSEN} "
        "ORDER BY status IN ('active', 'pending') DESC, capability, packs.expires_at, packs.starts_at, "
        "pack_id LIMIT 200",
        24,
        description="Those that hold calls first, in the order in which they are used up.",
        units={"cost": "currencyCNY"},
    ),
    Panel(
        "Uncovered calls",
        "table",
        "SELECT time, capability, reason, store, scene, event_id FROM uncovered "  # noqa: S608 - our own names
        f"WHERE {_CHOSEN_STORES} AND $__timeFilter(time) ORDER BY time DESC LIMIT 200",
        12,
        description="Succeeded, but neither a pack nor the trial quota covered them.",
    ),
    Panel(
        "Alerts and lapses",
        "table",
        "SELECT time, capability, what, pack_id, calls FROM ("  # noqa: S608 - our own names
        "SELECT appid, capability, time, concat(reason, if(recovered, ' recovered', '')) AS what, pack_id, "
        "remaining AS calls FROM alerts UNION ALL "
        "SELECT appid, capability, expired_at AS time, 'lapsed' AS what, pack_id, calls FROM lapses"
        f") WHERE {_CHOSEN} AND $__timeFilter(time) ORDER BY time DESC LIMIT 200",
        12,
    ),
    Panel(
        "Failing attempts to write",
        "timeseries",
        "rate(phonemeter_sink_insert_errors_total[5m])",
        12,
        prometheus=True,
    ),
    Panel("Stopped partitions", "timeseries", "phonemeter_sink_stopped", 12, prometheus=True),
)


def dashboard() -> Json:
    """The dashboard as Grafana reads it."""
    return {
        "uid": "phonemeter-usage",
        "title": "phonemeter: use and packs",
        "tags": ["phonemeter"],
        "timezone": "Asia/Shanghai",
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-30d", "to": "now"},
        "templating": {"list": list(VARIABLES)},
        "panels": laid_out(PANELS),
        "annotations": {"list": []},
        "links": [],
    }
