"""One app: what it has left, until when, where its calls go, and what went wrong."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.fleet import CALLS_BY_KIND, CAPABILITY, alerts_panel
from dashboards.grafana.page import choice, note, row, start
from dashboards.grafana.panels import (
    YUAN,
    Column,
    ask,
    ask_by_time,
    balance_levels,
    bars_panel,
    from_steps,
    heat_panel,
    plain,
    series_panel,
    spans_panel,
    stat_panel,
    table_panel,
)
from dashboards.grafana.words import Words

PACK_STATUS = (
    ("active", "Active", "green"),
    ("pending", "Pending", "blue"),
    ("exhausted", "Used up", "text"),
    ("lapsed", "Lapsed", "orange"),
    ("refunded", "Refunded", "text"),
)

OUTCOMES = (
    ("^succeeded$", "Succeeded"),
    ("^denied (.*)$", "Denied $1"),
    ("^failed (.*)$", "Failed $1"),
)


def build(t: Words) -> Dashboard:
    """The page."""
    about = (
        "One app: its balance, its packs to their expiry, its use with the forecast, where calls are made,"
        " what failed."
    )
    board = start(t, "app", about, since="now-60d", until="now+30d")
    board.variables(
        [
            choice(t, "app", "App", multi=False),
            choice(t, "capability", "Capability", multi=True),
            choice(t, "store", "Store", multi=True),
        ]
    )
    board.annotation(note(t, "note_purchases")).annotation(note(t, "note_expiries"))
    board.annotation(note(t, "note_alerts"))
    _figures(t, board)
    _packs(t, board)
    _use(t, board)
    _places(t, board)
    _trouble(t, board)
    return board


def _figures(t: Words, board: Dashboard) -> None:
    names = (CAPABILITY,)
    board.with_panel(
        stat_panel(
            t,
            "Calls left",
            "Trial quota and active packs. A trial quota that both capabilities share is in both.",
            ask("app_left"),
            unit=t.calls,
            steps=from_steps("dark-red", (1, "blue")),
            width=6,
            columns=names,
        )
    )
    board.with_panel(
        stat_panel(
            t,
            "Left of what was granted",
            "Of the active packs, and of the trial quota while something of it is left; colored at the levels"
            " that alert by default: 20, 10, 5 and 0 %.",
            ask("app_left_percent"),
            unit="percent",
            decimals=1,
            steps=balance_levels(),
            width=6,
            columns=names,
        )
    )
    board.with_panel(
        stat_panel(
            t,
            "Runs out",
            "At the expected pace, packs that lapse before considered. Nothing here: no end within three"
            " years, or no use. For the interval: phonemeter forecast.",
            ask("app_run_out"),
            unit="dateTimeAsIso",
            steps=plain(),
            width=6,
            columns=names,
        )
    )
    board.with_panel(
        stat_panel(
            t,
            "Next expiry",
            "Of an active pack. What it still holds then is lost.",
            ask("app_next_expiry"),
            unit="dateTimeAsIso",
            steps=plain(),
            width=6,
            columns=names,
        )
    )


def _packs(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Packs"))
    board.with_panel(
        spans_panel(
            t,
            "Packs to their expiry",
            "A bar per pack from its start to its expiry or to the day on which it was used up, colored by"
            " how much of it was left on each day. After today the color is that of now.",
            ask_by_time("app_pack_bars"),
            unit="percent",
            height=7,
            steps=from_steps(
                "transparent",
                (0, "dark-red"),
                (0.01, "red"),
                (5.01, "orange"),
                (10.01, "yellow"),
                (20.01, "green"),
            ),
        )
    )
    board.with_panel(
        table_panel(
            t,
            "Packs",
            "Those that hold calls first, in the order in which they are used up.",
            ask("app_packs"),
            width=24,
            height=6,
            columns=(
                CAPABILITY,
                Column("pack_id", "Pack"),
                Column("status", "Status", words=PACK_STATUS),
                Column("remaining", "Left", unit=t.calls),
                Column("calls", "Size", unit=t.calls),
                Column("left_percent", "Left of it", unit="percent", steps=balance_levels(), gauge=True),
                Column("charged", "Used", unit=t.calls),
                Column("lapsed", "Lapsed", unit=t.calls),
                Column("lapsing", "Will lapse", unit=t.calls, steps=from_steps("text", (1, "orange"))),
                Column("starts_at", "Starts", unit="dateTimeAsIso"),
                Column("expires_at", "Expires", unit="dateTimeAsIso"),
                Column("price_yuan", "Price", unit=YUAN, decimals=2),
            ),
        )
    )


def _use(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Use"))
    board.with_panel(
        series_panel(
            t,
            "Calls by day, with the forecast",
            "By what they were taken from. The dashed line is what is expected: the mean of the last weeks in"
            " the shape of the week, for all stores.",
            ask_by_time("app_calls", "app_expected"),
            unit=t.calls,
            width=16,
            height=9,
            stacked=True,
            columns=(*CALLS_BY_KIND, Column("expected", "Expected", color="orange", dashed=True)),
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Balance to come",
            "What trial quota and active packs will hold at the end of each day at the expected pace, if"
            " nothing is bought. A step down is an expiry.",
            ask_by_time("app_balance_ahead"),
            unit=t.calls,
            width=8,
            height=9,
            columns=(Column("quick", "Quick", color="blue"), Column("realtime", "Real-time", color="green")),
        )
    )


def _places(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Where and when"))
    for title, about, query, x, column in (
        (
            "Funnel",
            (
                "What became of every tap: succeeded, denied by the user, failed with which errno; 1400001:"
                " the platform says that no quota is left."
            ),
            "app_funnel",
            Column("outcome_errno", "Outcome", patterns=OUTCOMES),
            Column("authorizations", "Taps"),
        ),
        (
            "Scenes",
            "Calls by entry page or scene.",
            "app_scenes",
            Column("place", "Scene"),
            Column("calls", "Calls"),
        ),
        ("Stores", "Calls by store.", "app_stores", Column("place", "Store"), Column("calls", "Calls")),
    ):
        board.with_panel(
            bars_panel(t, title, about, ask(query), x=x, columns=(column,), unit=t.calls, width=8)
        )
    board.with_panel(
        heat_panel(
            t,
            "Hours of the day",
            "Calls by day and hour, in Shanghai. A bot is a stripe where people sleep.",
            ask("app_hours"),
            width=24,
            height=10,
        )
    )


def _trouble(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Trouble"))
    board.with_panel(
        series_panel(
            t,
            "Not succeeded, by day",
            "Taps that were denied or failed, by errno. 1400001: the platform says that no quota is left.",
            ask_by_time("app_failures"),
            unit=t.calls,
            width=8,
            stacked=True,
        )
    )
    board.with_panel(
        table_panel(
            t,
            "Uncovered calls",
            "Succeeded, and no pack and no trial quota covered them; the newest first.",
            ask("app_uncovered"),
            width=16,
            columns=(
                Column("time", "Time", unit="dateTimeAsIso", width=170),
                CAPABILITY,
                Column(
                    "reason",
                    "Reason",
                    words=(
                        ("no_pack", "No pack", ""),
                        ("exhausted", "Used up", ""),
                        ("too_late", "Came too late", ""),
                    ),
                ),
                Column("store", "Store"),
                Column("scene", "Scene"),
                Column("client", "Client"),
                Column("event_id", "Event"),
            ),
        )
    )
    board.with_panel(alerts_panel(t, Column("appid", "App", width=190)))
