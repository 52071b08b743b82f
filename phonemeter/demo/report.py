"""The demo's final table: calls, packs and cost per app and capability."""

from typing import Final, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.text import Text

from metering.money import MICRO_YUAN
from metering.rating import CapabilityReport, PackReport, Rating
from metering.times import parse_time, shanghai_date
from phonemeter.demo.totals import FIGURES, StoredTotals, trial_of, uses_of
from phonemeter.terminal import Table

APPS_SHOWN_MAX: Final = 15
WIDE_COLUMNS: Final = 128
HEADINGS: Final = (
    "app",
    "capa-\nbility",
    "used",
    "trial",
    "packs",
    "un-\ncovered",
    "trial\nleft",
    "packs\nleft",
    "lap-\nsed",
    "cost ¥",
    "which packs",
)
NARROW_HEADINGS: Final = 9
"""Columns that fit into a terminal of 80 characters: without cost and packs."""

TEXTS: Final = frozenset({HEADINGS[0], HEADINGS[1], HEADINGS[-1]})


class UsageRow(NamedTuple):
    """One capability of an app, with the figures of ClickHouse.

    `use` has the names of `CapabilityReport`; `left` is what the app's packs of the capability hold.
    """

    appid: str
    capability: str
    use: dict[str, int]
    left: int
    packs: str
    lapsed: int

    @property
    def used(self) -> int:
        """Number of succeeded authorizations, whatever covered them."""
        return sum(self.use[name] for name in ("charged", "trial_charged", "free", "exempt", "uncovered"))


def rows_of(stored: StoredTotals, rated: Rating) -> list[UsageRow]:
    """A row for each app and capability with calls or packs, the busiest app first."""
    rows = [_row(stored, appid, capability, use) for appid, capability, use in uses_of(rated)]
    used: dict[str, int] = {}
    for row in rows:
        used[row.appid] = used.get(row.appid, 0) + row.used
    present = [row for row in rows if row.used or row.packs]
    return sorted(present, key=lambda row: (-used[row.appid], row.appid, row.capability))


def table_of(rows: list[UsageRow], rated: Rating, columns: int) -> Group:
    """The busiest apps and a total; in a narrow terminal the packs are a list below the table."""
    wide = columns >= WIDE_COLUMNS
    headings = HEADINGS if wide else HEADINGS[:NARROW_HEADINGS]
    appids = list(dict.fromkeys(row.appid for row in rows))
    shown = [row for row in rows if row.appid in appids[:APPS_SHOWN_MAX]]
    table = Table(
        title="Calls by app and capability",
        title_justify="left",
        box=SIMPLE_HEAD if wide else None,
        padding=(0, 1) if wide else (0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in headings:
        text = heading in TEXTS
        table.add_column(heading, justify="left" if text else "right", no_wrap=heading != HEADINGS[-1])
    told: set[str] = set()
    for row in shown:
        table.add_row(*_cells(row, rated, first=row.appid not in told)[: len(headings)])
        told.add(row.appid)
    table.add_section()
    table.add_row(*_total(rows, rated, appids)[: len(headings)], style="bold")
    return Group(table) if wide else Group(table, *_pack_list(shown))


def yuan(micro_yuan: int) -> str:
    """Money for people, to the fen below."""
    return f"{micro_yuan // (MICRO_YUAN // 100) / 100:,.2f}"


def _row(stored: StoredTotals, appid: str, capability: str, rated: CapabilityReport) -> UsageRow:
    packs = [
        (stored.packs[appid, report.pack_id], report)
        for report in rated.packs
        if (appid, report.pack_id) in stored.packs
    ]
    described = [_pack_text(report) for _, report in packs]
    return UsageRow(
        appid,
        capability,
        stored.uses.get((appid, capability), dict.fromkeys(FIGURES, 0)),
        sum(pack.remaining for pack, _ in packs),
        "; ".join(described),
        sum(pack.lapsed for pack, _ in packs),
    )


def _pack_text(pack: PackReport) -> str:
    if pack.status == "active":
        return f"{pack.calls:,} to {shanghai_date(parse_time(pack.expires_at))}"
    return f"{pack.calls:,} {pack.status}"


def _cells(row: UsageRow, rated: Rating, *, first: bool) -> tuple[str | Text, ...]:
    return (
        row.appid if first else "",
        row.capability,
        f"{row.used:,}",
        f"{row.use['trial_charged']:,}",
        f"{row.use['charged']:,}",
        _red_if_any(row.use["uncovered"]),
        f"{trial_of(rated, row.appid).remaining:,}" if first else "",
        f"{row.left:,}" if row.packs else "-",
        _red_if_any(row.lapsed),
        yuan(row.use["amount_micro_yuan"]),
        _packs_text(row),
    )


def _packs_text(row: UsageRow) -> str:
    """The packs, and the calls that are in no other column."""
    uncharged = [f"{row.use[name]:,} {name}" for name in ("free", "exempt") if row.use[name]]
    return "; ".join(filter(None, (row.packs, *uncharged)))


def _pack_list(rows: list[UsageRow]) -> list[str]:
    lines = [
        f"{row.appid} {row.capability}: {_packs_text(row)}; ¥{yuan(row.use['amount_micro_yuan'])}"
        for row in rows
        if _packs_text(row)
    ]
    return ["", "Packs", *lines] if lines else []


def _total(rows: list[UsageRow], rated: Rating, appids: list[str]) -> tuple[str, ...]:
    more = len(appids) - APPS_SHOWN_MAX
    return (
        f"{len(appids)} apps" + (f", {more} hidden" if more > 0 else ""),
        "",
        f"{sum(row.used for row in rows):,}",
        f"{sum(row.use['trial_charged'] for row in rows):,}",
        f"{sum(row.use['charged'] for row in rows):,}",
        f"{sum(row.use['uncovered'] for row in rows):,}",
        f"{sum(trial_of(rated, appid).remaining for appid in appids):,}",
        f"{sum(row.left for row in rows):,}",
        f"{sum(row.lapsed for row in rows):,}",
        yuan(sum(row.use["amount_micro_yuan"] for row in rows)),
        "",
    )


def _red_if_any(calls: int) -> Text:
    return Text(f"{calls:,}", style="red" if calls else "")
