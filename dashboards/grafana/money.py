"""Money: what was spent, what a used call cost, what lapses, and how each month closes."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.fleet import CAPABILITY
from dashboards.grafana.page import app_link, choice, note, row, start
from dashboards.grafana.panels import (
    YUAN,
    Column,
    ask,
    bars_panel,
    expiry_days,
    from_steps,
    plain,
    stat_panel,
    table_panel,
)
from dashboards.grafana.words import Words


def build(t: Words) -> Dashboard:
    """The page."""
    about = (
        "What packs cost, what a used call cost with what lapsed, what will lapse, and how each month closes."
    )
    board = start(t, "money", about, since="now-365d")
    board.variables([choice(t, "app", "App", multi=True), choice(t, "capability", "Capability", multi=True)])
    board.annotation(note(t, "note_purchases")).annotation(note(t, "note_expiries"))
    _figures(t, board)
    _months(t, board)
    _risk(t, board)
    _close(t, board)
    return board


def _figures(t: Words, board: Dashboard) -> None:
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
        ("Calls that will lapse", "How many these are.", "money_will_lapse_calls", "calls", t.calls, 0, lost),
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
        board.with_panel(
            stat_panel(
                t,
                title,
                about,
                ask(query),
                unit=unit,
                decimals=decimals,
                steps=steps,
                width=4,
                columns=(Column(column, title),),
            )
        )


def _months(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "By month"))
    month = Column("month", "Month")
    board.with_panel(
        bars_panel(
            t,
            "Bought, used, lapsed",
            "Used and lapsed at the price of the packs they came from; bought less refunds.",
            ask("money_by_month"),
            x=month,
            unit=YUAN,
            width=12,
            lying=False,
            decimals=2,
            columns=(
                Column("bought", "Bought", color="blue"),
                Column("used", "Used", color="green"),
                Column("lapsed", "Lapsed", color="orange"),
            ),
        )
    )
    board.with_panel(
        bars_panel(
            t,
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
                Column("list_price", "Its own price", color="green"),
                Column("with_lapses", "With lapsed calls", color="orange"),
            ),
        )
    )


def _risk(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Lapses to come"))
    board.with_panel(
        bars_panel(
            t,
            "Will lapse, by month of the expiry",
            "At the expected pace, if nothing is bought; independent of the time range.",
            ask("money_lapsing_by_month"),
            x=Column("month", "Month"),
            columns=(Column("yuan", "Worth", color="orange"),),
            unit=YUAN,
            width=8,
            lying=False,
            decimals=2,
        )
    )
    board.with_panel(
        table_panel(
            t,
            "Packs that will lose calls",
            "The most expensive loss first. Use them earlier, or buy smaller ones.",
            ask("money_lapsing_packs"),
            width=16,
            columns=(
                Column("appid", "App", width=190, link=app_link(t, "${__value.raw}")),
                CAPABILITY,
                Column("pack_id", "Pack"),
                Column("expires_at", "Expires", unit="dateTimeAsIso"),
                Column("remaining", "Left", unit=t.calls),
                Column("lapsing", "Will lapse", unit=t.calls),
                Column(
                    "yuan",
                    "Worth",
                    unit=YUAN,
                    decimals=2,
                    steps=from_steps("text", (100, "orange"), (1000, "red")),
                ),
            ),
        )
    )
    board.with_panel(
        table_panel(
            t,
            "Next expiries",
            "Packs that hold calls, the nearest expiry first; colored at the days that alert by default: 15,"
            " 7, 3, 1 and 0.",
            ask("money_expiring"),
            width=24,
            height=7,
            columns=(
                Column("appid", "App", width=190, link=app_link(t, "${__value.raw}")),
                CAPABILITY,
                Column("pack_id", "Pack"),
                Column("days", "Days left", decimals=1, steps=expiry_days()),
                Column("expires_at", "Expires", unit="dateTimeAsIso"),
                Column("remaining", "Left", unit=t.calls),
                Column("yuan", "Worth", unit=YUAN, decimals=2),
            ),
        )
    )


def _close(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Month close"))
    board.with_panel(
        table_panel(
            t,
            "Month close by app",
            "Calls in packs: opening and bought are charged, lapsed, refunded and closing, in each row. Late"
            " events change the month in which they happened.",
            ask("money_close"),
            width=24,
            height=10,
            columns=(
                Column("month", "Month", width=90),
                Column("appid", "App", width=190, link=app_link(t, "${__value.raw}")),
                CAPABILITY,
                Column("opening", "Opening"),
                Column("bought", "Bought"),
                Column("charged", "Used"),
                Column("lapsed", "Lapsed"),
                Column("refunded", "Refunded"),
                Column("closing", "Closing"),
                Column("trial_charged", "From the trial quota"),
                Column("uncovered", "Uncovered", steps=from_steps("text", (1, "red"))),
                Column("yuan_bought", "Bought for", unit=YUAN, decimals=2),
                Column("yuan_used", "Used for", unit=YUAN, decimals=2),
                Column("yuan_lapsed", "Lost", unit=YUAN, decimals=2),
            ),
        )
    )
