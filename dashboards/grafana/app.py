"""The page of one app: balance, packs, use with the forecast, scenes and stores, failures."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.fleet import CALLS_BY_KIND, CAPABILITY, add_alerts
from dashboards.grafana.page import choice, note, start
from dashboards.grafana.panels import (
    NUMBER,
    PERCENT,
    TEXT,
    TIME,
    YUAN,
    Page,
    ResultColumn,
    ask,
    ask_by_time,
    balance_levels,
    from_steps,
    plain,
)
from dashboards.grafana.words import Words

PACK_STATUS = (
    ("active", "Active", "green"),
    ("pending", "Pending", "blue"),
    ("exhausted", "Used up", "text"),
    ("expired", "Expired", "orange"),
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
    page = start(t, "app", about, since="now-60d", until="now+30d")
    page.board.variables(
        [
            choice(t, "app", "App", multi=False),
            choice(t, "capability", "Capability", multi=True),
            choice(t, "store", "Store", multi=True),
        ]
    )
    page.board.annotation(note(t, "note_purchases")).annotation(note(t, "note_expiries"))
    page.board.annotation(note(t, "note_alerts"))
    _figures(page)
    _packs(page)
    _use(page)
    _places(page)
    _trouble(page)
    return page.board


def _figures(page: Page) -> None:
    names = (CAPABILITY,)
    page.stat(
        "Calls left",
        "Trial quota and active packs. A trial quota that both capabilities share is in both.",
        ask("app_left"),
        unit=NUMBER,
        steps=from_steps("dark-red", (1, "blue")),
        width=6,
        columns=names,
    )
    page.stat(
        "Left of what was granted",
        "Of the active packs, and of the trial quota while something of it is left; colored at the levels"
        " that alert by default: 20, 10, 5 and 0 %.",
        ask("app_left_percent"),
        unit=PERCENT,
        decimals=1,
        steps=balance_levels(),
        width=6,
        columns=names,
    )
    page.stat(
        "Runs out",
        "At the expected pace, packs that lapse before considered. Nothing here: no end within three"
        " years, or no use. For the interval: phonemeter forecast.",
        ask("app_run_out"),
        unit=TIME,
        steps=plain(),
        width=6,
        columns=names,
    )
    page.stat(
        "Next expiry",
        "Of an active pack. What it still holds then is lost.",
        ask("app_next_expiry"),
        unit=TIME,
        steps=plain(),
        width=6,
        columns=names,
    )


def _packs(page: Page) -> None:
    page.row("Packs")
    page.spans(
        "Packs to their expiry",
        "A bar per pack from its start to its expiry or to the day on which it was used up, colored by"
        " how much of it was left on each day. After today the color is that of now.",
        ask_by_time("app_pack_bars"),
        unit=PERCENT,
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
    page.table(
        "Packs",
        "Those that hold calls first, in the order in which they are used up.",
        ask("app_packs"),
        width=24,
        height=6,
        columns=(
            CAPABILITY,
            ResultColumn("pack_id", "Pack", unit=TEXT),
            ResultColumn("status", "Status", words=PACK_STATUS),
            ResultColumn("remaining", "Left", unit=NUMBER),
            ResultColumn("calls", "Size", unit=NUMBER),
            ResultColumn(
                "left_percent", "Left of it", unit=PERCENT, decimals=1, steps=balance_levels(), gauge=True
            ),
            ResultColumn("charged", "Used", unit=NUMBER),
            ResultColumn("lapsed", "Lapsed", unit=NUMBER),
            ResultColumn("lapsing", "Will lapse", unit=NUMBER, steps=from_steps("text", (1, "orange"))),
            ResultColumn("starts_at", "Starts", unit=TIME),
            ResultColumn("expires_at", "Expires", unit=TIME),
            ResultColumn("price_yuan", "Price", unit=YUAN, decimals=2),
        ),
    )
    page.table(
        "WeChat's count",
        "The newest observation of each pack and of the trial quota (-), and what was charged by then. Above"
        " 0 WeChat counts more. For the causes: phonemeter reconcile.",
        ask("app_agreement"),
        width=24,
        height=5,
        columns=(
            CAPABILITY,
            ResultColumn("pack", "Pack", unit=TEXT),
            ResultColumn("used", "Used, by WeChat", unit=NUMBER),
            ResultColumn("charged", "Used, by the ledger", unit=NUMBER),
            ResultColumn("difference", "Difference", unit=NUMBER),
            ResultColumn("since", "Since", unit=TIME),
            ResultColumn("observed_at", "Observed", unit=TIME),
            ResultColumn("staying", "Stays", words=(("yes", "Yes", "orange"), ("no", "No", ""))),
        ),
    )


def _use(page: Page) -> None:
    page.row("Use")
    page.series(
        "Calls by day, with the forecast",
        "By what they were taken from. The dashed line is what is expected: the mean of the last weeks in"
        " the shape of the week, for all stores.",
        ask_by_time("app_calls", "app_expected"),
        unit=NUMBER,
        width=16,
        height=9,
        stacked=True,
        columns=(
            *CALLS_BY_KIND,
            ResultColumn("expected", "Expected", decimals=1, color="orange", dashed=True),
        ),
    )
    page.series(
        "Balance to come",
        "What trial quota and active packs will hold at the end of each day at the expected pace, if"
        " nothing is bought. A step down is an expiry.",
        ask_by_time("app_balance_ahead"),
        unit=NUMBER,
        width=8,
        height=9,
        columns=(
            ResultColumn("quick", "Quick", decimals=0, color="blue"),
            ResultColumn("realtime", "Real-time", decimals=0, color="green"),
        ),
    )


def _places(page: Page) -> None:
    page.row("Where and when")
    for title, about, query, x, column in (
        (
            "Funnel",
            (
                "What became of every tap: succeeded, denied by the user, failed with which errno; 1400001:"
                " the platform says that no quota is left."
            ),
            "app_funnel",
            ResultColumn("outcome_errno", "Outcome", patterns=OUTCOMES),
            ResultColumn("authorizations", "Taps", color="blue"),
        ),
        (
            "Scenes",
            "Calls by entry page or scene.",
            "app_scenes",
            ResultColumn("place", "Scene", unit=TEXT),
            ResultColumn("calls", "Calls", color="blue"),
        ),
        (
            "Stores",
            "Calls by store.",
            "app_stores",
            ResultColumn("place", "Store", unit=TEXT),
            ResultColumn("calls", "Calls", color="blue"),
        ),
    ):
        page.bars(title, about, ask(query), x=x, columns=(column,), unit=NUMBER, width=8)
    page.heat(
        "Hours of the day",
        "Calls by day and hour, in Shanghai. A bot is a stripe where people sleep.",
        ask("app_hours"),
        width=24,
        height=10,
    )


def _trouble(page: Page) -> None:
    page.row("Trouble")
    page.series(
        "Not succeeded, by day",
        "Taps that were denied or failed, by errno. 1400001: the platform says that no quota is left.",
        ask_by_time("app_failures"),
        unit=NUMBER,
        width=8,
        stacked=True,
    )
    page.table(
        "Uncovered calls",
        "Succeeded, and no pack and no trial quota covered them; the newest first.",
        ask("app_uncovered"),
        width=16,
        columns=(
            ResultColumn("time", "Time", unit=TIME, width=170),
            CAPABILITY,
            ResultColumn(
                "reason",
                "Reason",
                words=(
                    ("no_pack", "No pack", ""),
                    ("exhausted", "Used up", ""),
                    ("too_late", "Came too late", ""),
                ),
            ),
            ResultColumn("store", "Store", unit=TEXT),
            ResultColumn("scene", "Scene", unit=TEXT),
            ResultColumn("client", "Client", unit=TEXT),
            ResultColumn("event_id", "Event", unit=TEXT),
        ),
    )
    add_alerts(page, ResultColumn("label", "App", unit=TEXT, width=190))
