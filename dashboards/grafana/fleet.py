"""The page of all apps: run-outs, use, uncovered calls, alerts."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.page import app_link, choice, note, start
from dashboards.grafana.panels import (
    NUMBER,
    PERCENT,
    SECONDS,
    TEXT,
    TIME,
    Page,
    ResultColumn,
    any_is_bad,
    ask,
    ask_by_time,
    balance_levels,
    from_steps,
    plain,
    run_out_days,
)
from dashboards.grafana.prometheus import measure_now
from dashboards.grafana.words import Words

CALLS_BY_KIND: Final = (
    ResultColumn("charged", "From packs", color="blue"),
    ResultColumn("trial_charged", "From the trial quota", color="green"),
    ResultColumn("free", "Free", color="purple"),
    ResultColumn("exempt", "Exempt", color="semi-dark-purple"),
    ResultColumn("uncovered", "Uncovered", color="red"),
)
"""The sources that calls were taken from, the same on every page."""

STATUS: Final = (
    ("out", "Out of calls", "dark-red"),
    ("soon", "Runs out within a week", "red"),
    ("low", "Low", "orange"),
    ("ok", "In order", "green"),
    ("idle", "Not used", "text"),
    ("exempt", "Exempt", "purple"),
)

CAPABILITY: Final = ResultColumn(
    "capability", "Capability", width=110, words=(("quick", "Quick", ""), ("realtime", "Real-time", ""))
)

APPID: Final = ResultColumn("appid", "AppID", unit=TEXT, hidden=True)

ALERT_COLUMNS: Final = (
    ResultColumn("time", "Time", unit=TIME, width=170),
    CAPABILITY,
    ResultColumn(
        "reason",
        "Reason",
        words=(
            ("level", "Low balance", "orange"),
            ("expiry", "Expiry", "orange"),
            ("run_out", "Run-out", "red"),
            ("uncovered", "Uncovered", "red"),
            ("refused", "Refused", "red"),
            ("minute_burn", "Abnormal minute", "red"),
            ("client_burn", "Abnormal client", "red"),
            ("charge_notice", "Charge notice", "blue"),
        ),
    ),
    ResultColumn("recovered", "Recovered", words=(("true", "Yes", "green"), ("false", "No", ""))),
    ResultColumn("pack_id", "Pack", unit=TEXT),
    ResultColumn("remaining", "Left"),
    ResultColumn("level_percent", "Level", unit=PERCENT),
    ResultColumn("days", "Days before the expiry"),
    ResultColumn("hours_left", "Hours left"),
    ResultColumn("routes", "To", unit=TEXT),
    ResultColumn(
        "sent",
        "Delivery",
        words=(
            ("delivered", "Delivered", "green"),
            ("acknowledged", "Acknowledged", "green"),
            ("held", "Held", "blue"),
            ("waiting", "On its way", "orange"),
            ("dead", "Given up", "red"),
            ("not_sent", "Too old", "text"),
            ("nobody", "No route", "text"),
        ),
    ),
)


def app_column(t: Words) -> ResultColumn:
    """The app of a row by its name; a click opens its page."""
    return ResultColumn("label", "App", unit=TEXT, width=190, link=app_link(t))


def add_alerts(page: Page, app: ResultColumn) -> None:
    """Add the alerts as a table; `app` says how the app is shown."""
    page.table(
        "Alerts",
        "The newest first. Each threshold alerts once, and again only after a top-up has lifted the"
        " balance clear of it. Of several deliveries the worst is shown.",
        ask("alerts_table"),
        width=24,
        columns=(app, APPID, *ALERT_COLUMNS),
    )


def build(t: Words) -> Dashboard:
    """The page."""
    about = "Every app: who runs out next, who uses most, what nothing covered, and which alerts there were."
    page = start(t, "fleet", about, since="now-30d")
    page.board.variables(
        [choice(t, "app", "App", multi=True), choice(t, "capability", "Capability", multi=True)]
    )
    page.board.annotation(note(t, "note_purchases")).annotation(note(t, "note_expiries"))
    page.board.annotation(note(t, "note_alerts"))
    _figures(page)
    _apps(page)
    _curves(page)
    return page.board


def _figures(page: Page) -> None:
    for title, about, query, column, steps in (
        ("Apps", "Apps with any entry in the ledger.", "fleet_apps", "apps", plain()),
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
        shown = (ResultColumn(column, title),)
        page.stat(title, about, ask(query), unit=NUMBER, steps=steps, width=4, columns=shown)
    page.stat(
        "Age of the newest entry",
        "How old everything on this page may be. More than a minute: look at the pipeline's page.",
        measure_now("max(phonemeter_sink_newest_line_age_seconds)", page.t("Age of the newest entry")),
        unit=SECONDS,
        steps=from_steps("green", (60, "orange"), (600, "red")),
        width=4,
    )


def _apps(page: Page) -> None:
    page.row("Apps")
    page.table(
        "Apps by run-out",
        "The nearest run-out first. Left: of the active packs, and of the trial quota while something of"
        " it is left, colored at the levels that alert by default. A click on an app opens its page.",
        ask("fleet_table"),
        width=24,
        height=10,
        columns=(
            app_column(page.t),
            CAPABILITY,
            ResultColumn("status", "Status", words=STATUS),
            ResultColumn("calls_left", "Calls left", unit=NUMBER),
            ResultColumn(
                "left_percent", "Left", unit=PERCENT, decimals=1, steps=balance_levels(), gauge=True
            ),
            ResultColumn("a_day", "Calls a day", decimals=1),
            ResultColumn("days_left", "Days left", decimals=1, steps=run_out_days()),
            ResultColumn("run_out_at", "Runs out", unit=TIME),
            ResultColumn("next_expires_at", "Next expiry", unit=TIME),
            ResultColumn("uncovered", "Uncovered", steps=any_is_bad()),
            ResultColumn("appid", "AppID", unit=TEXT, width=190),
        ),
    )


def _curves(page: Page) -> None:
    page.row("Use")
    page.series(
        "Calls by day",
        "By what they were taken from. Days are Shanghai's; days without any use are zeros.",
        ask_by_time("calls_by_day"),
        unit=NUMBER,
        width=16,
        stacked=True,
        columns=CALLS_BY_KIND,
    )
    page.bars(
        "Top burners",
        "The ten apps with the most calls in the time range.",
        ask("fleet_burners"),
        x=ResultColumn("label", "App", unit=TEXT),
        columns=(APPID, ResultColumn("calls", "Calls", color="blue", link=app_link(page.t))),
        unit=NUMBER,
        width=8,
    )
    page.row("Trouble")
    page.series(
        "Uncovered calls by day",
        "By app. Each of them is a person whose number came although no pack paid for it.",
        ask_by_time("fleet_uncovered"),
        unit=NUMBER,
        width=24,
        stacked=True,
    )
    add_alerts(page, app_column(page.t))
