"""All apps: who runs out next, who burns most, what was not covered."""

from typing import Final

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.page import app_link, choice, note, row, start
from dashboards.grafana.panels import (
    Column,
    any_is_bad,
    ask,
    ask_by_time,
    balance_levels,
    bars_panel,
    from_steps,
    measure_now,
    plain,
    run_out_days,
    series_panel,
    stat_panel,
    table_panel,
)
from dashboards.grafana.words import Words

CALLS_BY_KIND: Final = (
    Column("charged", "From packs", color="blue"),
    Column("trial_charged", "From the trial quota", color="green"),
    Column("free", "Free", color="purple"),
    Column("exempt", "Exempt", color="semi-dark-purple"),
    Column("uncovered", "Uncovered", color="red"),
)
"""What calls were taken from, the same on every page."""

STATUS: Final = (
    ("out", "Out of calls", "dark-red"),
    ("soon", "Runs out within a week", "red"),
    ("low", "Low", "orange"),
    ("ok", "In order", "green"),
    ("idle", "Not used", "text"),
    ("exempt", "Exempt", "purple"),
)

CAPABILITY: Final = Column(
    "capability", "Capability", width=110, words=(("quick", "Quick", ""), ("realtime", "Real-time", ""))
)

ALERT_COLUMNS: Final = (
    Column("time", "Time", unit="dateTimeAsIso", width=170),
    CAPABILITY,
    Column(
        "reason",
        "Reason",
        words=(
            ("level", "Low balance", "orange"),
            ("expiry", "Expiry", "orange"),
            ("run_out", "Run-out", "red"),
            ("uncovered", "Uncovered", "red"),
            ("minute_burn", "Abnormal minute", "red"),
            ("client_burn", "Abnormal client", "red"),
        ),
    ),
    Column("recovered", "Recovered", words=(("true", "Yes", "green"), ("false", "No", ""))),
    Column("pack_id", "Pack"),
    Column("remaining", "Left"),
    Column("level_percent", "Level", unit="percent"),
    Column("days", "Days before the expiry"),
    Column("hours_left", "Hours left"),
    Column("routes", "To"),
    Column(
        "sent",
        "Delivery",
        words=(
            ("delivered", "Delivered", "green"),
            ("acknowledged", "Acknowledged", "green"),
            ("held", "Held", "blue"),
            ("waiting", "On its way", "orange"),
            ("dead", "Given up", "red"),
            ("nobody", "No route", "text"),
        ),
    ),
)


def alerts_panel(t: Words, app: Column) -> table.Panel:
    """The alerts as a table; `app` says how the app is shown."""
    return table_panel(
        t,
        "Alerts",
        "The newest first. Each threshold alerts once, and again only after a top-up has lifted the"
        " balance clear of it. Of several deliveries the worst is shown.",
        ask("alerts_table"),
        width=24,
        columns=(app, *ALERT_COLUMNS),
    )


def build(t: Words) -> Dashboard:
    """The page."""
    about = "Every app: who runs out next, who uses most, what nothing covered, and which alerts there were."
    board = start(t, "fleet", about, since="now-30d")
    board.variables([choice(t, "app", "App", multi=True), choice(t, "capability", "Capability", multi=True)])
    board.annotation(note(t, "note_purchases")).annotation(note(t, "note_expiries"))
    board.annotation(note(t, "note_alerts"))
    _figures(t, board)
    _apps(t, board)
    _curves(t, board)
    return board


def _figures(t: Words, board: Dashboard) -> None:
    for title, about, query, column, steps in (
        ("Apps", "Apps with any line in the ledger.", "fleet_apps", "apps", plain()),
        (
            "Out of calls",
            "Apps and capabilities in use that nothing covers now: people cannot sign up.",
            "fleet_out",
            "out_of_calls",
            from_steps("green", (1, "dark-red")),
        ),
        (
            "Run out within a week",
            "By the forecast at the expected pace; a week is the lead time that alerts by default.",
            "fleet_soon",
            "soon",
            any_is_bad(),
        ),
        (
            "Uncovered calls",
            "In the time range: succeeded, and no pack and no trial quota covered them.",
            "uncovered_count",
            "calls",
            any_is_bad(),
        ),
        ("Alerts", "In the time range, recoveries not counted.", "alerts_count", "alerts", any_is_bad()),
    ):
        shown = (Column(column, title),)
        board.with_panel(
            stat_panel(t, title, about, ask(query), unit=t.count, steps=steps, width=4, columns=shown)
        )
    board.with_panel(
        stat_panel(
            t,
            "Age of the newest line",
            "How old everything on this page may be. More than a minute: look at the pipeline's page.",
            measure_now("max(phonemeter_sink_newest_line_age_seconds)", t("Age of the newest line")),
            unit="s",
            steps=from_steps("green", (60, "orange"), (600, "red")),
            width=4,
        )
    )


def _apps(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Apps"))
    board.with_panel(
        table_panel(
            t,
            "Apps by run-out",
            "The nearest run-out first. Left: of the active packs, and of the trial quota while something of"
            " it is left, colored at the levels that alert by default. A click on an app opens its page.",
            ask("fleet_table"),
            width=24,
            height=10,
            columns=(
                Column("appid", "App", width=190, link=app_link(t, "${__value.raw}")),
                Column("name", "Name"),
                CAPABILITY,
                Column("status", "Status", words=STATUS),
                Column("calls_left", "Calls left", unit=t.calls),
                Column("left_percent", "Left", unit="percent", steps=balance_levels(), gauge=True),
                Column("a_day", "Calls a day", decimals=1),
                Column("days_left", "Days left", decimals=1, steps=run_out_days()),
                Column("run_out_at", "Runs out", unit="dateTimeAsIso"),
                Column("next_expires_at", "Next expiry", unit="dateTimeAsIso"),
                Column("uncovered", "Uncovered", steps=any_is_bad()),
            ),
        )
    )


def _curves(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Use"))
    board.with_panel(
        series_panel(
            t,
            "Calls by day",
            "By what they were taken from. Days are Shanghai's; days without any use are zeros.",
            ask_by_time("calls_by_day"),
            unit=t.calls,
            width=16,
            stacked=True,
            columns=CALLS_BY_KIND,
        )
    )
    board.with_panel(
        bars_panel(
            t,
            "Top burners",
            "The ten apps with the most calls in the time range.",
            ask("fleet_burners"),
            x=Column("appid", "App", link=app_link(t, "${__value.raw}")),
            columns=(Column("calls", "Calls"),),
            unit=t.calls,
            width=8,
        )
    )
    board.with_row(row(t, "Trouble"))
    board.with_panel(
        series_panel(
            t,
            "Uncovered calls by day",
            "By app. Each of them is a person whose number came although no pack paid for it.",
            ask_by_time("fleet_uncovered"),
            unit=t.calls,
            width=24,
            stacked=True,
        )
    )
    app = Column("appid", "App", width=190, link=app_link(t, "${__value.raw}"))
    board.with_panel(alerts_panel(t, app))
