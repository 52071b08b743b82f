"""The page of money: spending, cost of a used call, lapses, month close."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.fleet import APPID, CAPABILITY, app_column
from dashboards.grafana.page import choice, note, start
from dashboards.grafana.panels import (
    NUMBER,
    TEXT,
    TIME,
    YUAN,
    Page,
    ResultColumn,
    ask,
    expiry_days,
    from_steps,
    plain,
)
from dashboards.grafana.words import Words


def build(t: Words) -> Dashboard:
    """The page."""
    about = (
        "What packs cost, what a used call cost with what lapsed, what will lapse, and how each month closes."
    )
    page = start(t, "money", about, since="now-365d")
    page.board.variables(
        [choice(t, "app", "App", multi=True), choice(t, "capability", "Capability", multi=True)]
    )
    page.board.annotation(note(t, "note_purchases")).annotation(note(t, "note_expiries"))
    _figures(page)
    _months(page)
    _risk(page)
    _close(page)
    return page.board


def _figures(page: Page) -> None:
    lost = from_steps("green", (0.01, "orange"))
    for title, about, query, column, unit, decimals, steps in (
        (
            "Bought",
            "Packs paid in the time range, refunds left out.",
            "money_bought",
            "yuan",
            YUAN,
            2,
            plain(),
        ),
        (
            "Cost of a used call",
            "In the time range: charged calls and lapsed ones together, over the charged calls.",
            "money_per_used_call",
            "yuan_per_call",
            YUAN,
            4,
            plain(),
        ),
        (
            "Lapsed",
            "What the calls had cost that packs lost at their expiry in the time range.",
            "money_lapsed",
            "yuan",
            YUAN,
            2,
            lost,
        ),
        (
            "Will lapse",
            "What the calls cost that packs held now will lose, at the expected pace.",
            "money_will_lapse",
            "yuan",
            YUAN,
            2,
            lost,
        ),
        ("Calls that will lapse", "How many these are.", "money_will_lapse_calls", "calls", NUMBER, 0, lost),
        (
            "Uncovered, at pack prices",
            (
                "What the uncovered calls of the time range would have cost at the mean price of all packs"
                " bought of that capability."
            ),
            "money_uncovered",
            "yuan",
            YUAN,
            2,
            lost,
        ),
    ):
        page.stat(
            title,
            about,
            ask(query),
            unit=unit,
            decimals=decimals,
            steps=steps,
            width=4,
            columns=(ResultColumn(column, title),),
        )


def _months(page: Page) -> None:
    page.row("By month")
    month = ResultColumn("month", "Month", unit=TEXT)
    page.bars(
        "Bought, used, lapsed",
        "Used and lapsed at the price of the packs they came from; bought less refunds.",
        ask("money_by_month"),
        x=month,
        unit=YUAN,
        width=12,
        lying=False,
        decimals=2,
        columns=(
            ResultColumn("bought", "Bought", color="blue"),
            ResultColumn("used", "Used", color="green"),
            ResultColumn("lapsed", "Lapsed", color="orange"),
        ),
    )
    page.bars(
        "Cost of a used call",
        "What a charged call cost, and what it cost with what lapsed in that month: the difference is the"
        " price of packs that were too large.",
        ask("money_per_call_by_month"),
        x=month,
        unit=YUAN,
        width=12,
        lying=False,
        decimals=4,
        columns=(
            ResultColumn("list_price", "Its own price", color="green"),
            ResultColumn("with_lapses", "With lapsed calls", color="orange"),
        ),
    )


def _risk(page: Page) -> None:
    page.row("Lapses to come")
    page.bars(
        "Will lapse, by month of the expiry",
        "At the expected pace, if nothing is bought; independent of the time range.",
        ask("money_lapsing_by_month"),
        x=ResultColumn("month", "Month", unit=TEXT),
        columns=(ResultColumn("yuan", "Worth", color="orange"),),
        unit=YUAN,
        width=8,
        lying=False,
        decimals=2,
    )
    page.table(
        "Packs that will lose calls",
        "The most expensive loss first. Use them earlier, or buy smaller ones.",
        ask("money_lapsing_packs"),
        width=16,
        columns=(
            app_column(page.t),
            APPID,
            CAPABILITY,
            ResultColumn("pack_id", "Pack", unit=TEXT),
            ResultColumn("expires_at", "Expires", unit=TIME),
            ResultColumn("remaining", "Left", unit=NUMBER),
            ResultColumn("lapsing", "Will lapse", unit=NUMBER),
            ResultColumn(
                "yuan",
                "Worth",
                unit=YUAN,
                decimals=2,
                steps=from_steps("text", (100, "orange"), (1000, "red")),
            ),
        ),
    )
    page.table(
        "Next expiries",
        "Packs that hold calls, the nearest expiry first; colored at the days that alert by default: 15,"
        " 7, 3, 1 and 0.",
        ask("money_expiring"),
        width=24,
        height=7,
        columns=(
            app_column(page.t),
            APPID,
            CAPABILITY,
            ResultColumn("pack_id", "Pack", unit=TEXT),
            ResultColumn("days", "Days left", decimals=1, steps=expiry_days()),
            ResultColumn("expires_at", "Expires", unit=TIME),
            ResultColumn("remaining", "Left", unit=NUMBER),
            ResultColumn("yuan", "Worth", unit=YUAN, decimals=2),
        ),
    )


def _close(page: Page) -> None:
    page.row("Month close")
    page.table(
        "Month close by app",
        "Calls in packs: opening and bought are charged, lapsed, refunded and closing, in each row. Late"
        " events change the month in which they happened.",
        ask("money_close"),
        width=24,
        height=10,
        columns=(
            ResultColumn("month", "Month", unit=TEXT, width=90),
            app_column(page.t),
            APPID,
            CAPABILITY,
            ResultColumn("opening", "Opening"),
            ResultColumn("bought", "Bought"),
            ResultColumn("charged", "Used"),
            ResultColumn("lapsed", "Lapsed"),
            ResultColumn("refunded", "Refunded"),
            ResultColumn("closing", "Closing"),
            ResultColumn("trial_charged", "From the trial quota"),
            ResultColumn("uncovered", "Uncovered", steps=from_steps("text", (1, "red"))),
            ResultColumn("yuan_bought", "Bought for", unit=YUAN, decimals=2),
            ResultColumn("yuan_used", "Used for", unit=YUAN, decimals=2),
            ResultColumn("yuan_lapsed", "Lost", unit=YUAN, decimals=2),
        ),
    )
