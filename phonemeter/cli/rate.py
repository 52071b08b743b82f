"""`phonemeter rate`: a file of events metered by the rules alone, offline, and the resulting accounts."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Annotated, Final

import typer
from msgspec import structs

from metering.alerts import alert_of
from metering.events import CAPABILITIES, VALUE_BYTES_MAX
from metering.ledger import Entry
from metering.offline_settlement import TooManyCallsError
from metering.rating import CapabilityReport, PackReport, Rating, RejectedLine, TrialReport
from metering.rating import rate as rating_of
from metering.times import parse_time
from phonemeter.cli.line_input import LineInput
from phonemeter.cli.option_groups import with_option_groups
from phonemeter.cli.rule_options import RateRules, time_option
from phonemeter.errors import UserError
from phonemeter.formats import to_second, yuan
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json

REJECTED_SHOWN: Final = 10
ALERTS_SHOWN: Final = 20
FIGURES: Final = {
    "suc-\nceeded": "succeeded",
    "\ntrial": "trial_charged",
    "char-\nged": "charged",
    "un-\ncovered": "uncovered",
    "\nfree": "free",
    "\nexempt": "exempt",
    "cor-\nrected": "corrected",
    "de-\nnied": "denied",
    "fail-\ned": "failed",
    "dupli-\ncates": "duplicates",
}
"""The columns of counts, and the fields of a `CapabilityReport` that they show."""
ALWAYS_SHOWN: Final = frozenset({"succeeded", "trial_charged", "charged", "uncovered"})
TOO_LONG: Final = bytes(VALUE_BYTES_MAX + 1)
"""Replacement for a line that is too long to be an event and was not kept."""


@with_option_groups
def rate(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Events, one CloudEvent in JSON per line; - reads stdin.")
    ],
    *,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Show the accounts as of this time, such as 2026-10-17T10:05:03+08:00: later events are "
            "left out. Default: after the last event.",
        ),
    ] = None,
    as_arrived: Annotated[
        bool,
        typer.Option(
            "--as-arrived",
            help="Show what the order of the lines gives at once, before late facts are settled. Default: "
            "the settled figures, which do not depend on the order.",
        ),
    ] = False,
    rules: RateRules,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Meter a file of events by the rules alone, without Kafka and ClickHouse, and show the accounts.

    The file may be compressed by gzip. The order of the lines is the order of the log: it decides the alerts.
    The figures are the settled ones, which do not depend on it; with `--as-arrived` they are those that the
    ledger has at first. A line that is no event is counted as rejected and stops nothing. Figures and alerts
    come from the code that the stream runs. `emit` refuses more than that: what tells who a person is in what
    fields hold that the format does not know, and events of the future.
    """
    at_ms = None if at is None else time_option("--at", at)
    rejected, alerts = _RejectedLines(), list[Entry]()
    with ExitStack() as held:
        lines = _read_lines(LineInput.open_named(file, held))
        try:
            rating = rating_of(
                lines,
                rules.applied_to(load().rules()),
                at_ms=at_ms,
                settled=not as_arrived,
                on_rejected=rejected.keep,
                on_alert=alerts.append,
            )
        except TooManyCallsError as error:
            raise UserError(
                f"{file}: {error}; --as-arrived rates them in the order of the lines, or rate fewer."
            ) from None
    if as_json:
        print_json({**structs.asdict(rating), "alerts": [alert_of(0, entry) for entry in alerts]}, indent=2)
    else:
        rejected.show(rating.rejected)
        _show(rating)
        _show_alerts(alerts)


class _RejectedLines:
    """The first lines that are no events."""

    def __init__(self) -> None:
        self._first: list[RejectedLine] = []

    def keep(self, line: RejectedLine) -> None:
        """Keep a line, unless there are enough."""
        if len(self._first) < REJECTED_SHOWN:
            self._first.append(line)

    def show(self, total: int) -> None:
        """Print them on stderr, and their total number."""
        console = output(stderr=True)
        for line in self._first:
            console.print(f"line {line.number}: {line.reason}: {line.sentence}", style="red")
        if total > len(self._first):
            console.print(
                f"{total:,} lines are no events; these are the first {len(self._first)}.", style="red"
            )


def _read_lines(source: LineInput) -> Iterator[bytes]:
    """The lines of a file or of stdin, blank ones included for their numbers, in bounded memory."""
    for block in source.blocks(lambda: True):
        for value in block.values:
            yield TOO_LONG if value is None else value


def _show(rating: Rating) -> None:
    console = output()
    if not rating.apps:
        console.print("No app appears in these events.")
        return
    print_table(console, _calls(rating))
    packs = _packs(rating)
    if packs.row_count:
        console.print()
        print_table(console, packs)


def _show_alerts(alerts: Sequence[Entry]) -> None:
    """Print the newest alerts, which the stream would have raised."""
    if not alerts:
        return
    newest = alerts[-ALERTS_SHOWN:]
    of = f", the newest {len(newest)} of {len(alerts):,}" if len(newest) < len(alerts) else ""
    title = f"Alerts (times in Asia/Shanghai{of})"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in ("time", "app", "capa-\nbility", "kind", "reason"):
        table.add_column(name)
    table.add_column("left", justify="right")
    for entry in newest:
        table.add_row(
            to_second(entry.time_ms),
            entry.appid,
            entry.capability,
            entry.kind,
            entry.reason,
            f"{entry.remaining:,}",
        )
    console = output()
    console.print()
    print_table(console, table)


def _calls(rating: Rating) -> Table:
    """A row per app and capability, without the columns in which nothing ever happened."""
    uses = [
        (appid, capability, use, reports["trial"])
        for appid, reports in rating.apps.items()
        for capability, use in _uses(reports)
    ]
    figures = [
        (title, name)
        for title, name in FIGURES.items()
        if name in ALWAYS_SHOWN or any(getattr(use, name) for _, _, use, _ in uses)
    ]
    # Narrow enough for a terminal of 80 columns, if not everything happened.
    table = Table(title="Calls", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("\napp")
    table.add_column("capa-\nbility")
    for title in (*(title for title, _ in figures), "\ncost ¥", "trial\nleft"):
        table.add_column(title, justify="right")
    for appid, capability, use, trial in uses:
        table.add_row(
            appid,
            capability,
            *(f"{getattr(use, name):,}" for _, name in figures),
            yuan(use.amount_micro_yuan),
            f"{trial.remaining:,}" if isinstance(trial, TrialReport) else "",
        )
    return table


def _packs(rating: Rating) -> Table:
    table = Table(
        title="Packs (times in Asia/Shanghai)", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("app")
    table.add_column("capa-\nbility")
    table.add_column("pack")
    table.add_column("status")
    packs = [pack for reports in rating.apps.values() for _, use in _uses(reports) for pack in use.packs]
    opened = any(pack.used_before for pack in packs)
    for name in ("calls", *(["used\nbefore"] if opened else []), "left", "lapsed"):
        table.add_column(name, justify="right")
    table.add_column("starts")
    table.add_column("expires")
    table.add_column("cost ¥", justify="right")
    for appid, reports in rating.apps.items():
        for capability, use in _uses(reports):
            for pack in use.packs:
                table.add_row(appid, capability, *_pack(pack, opened=opened))
    return table


def _pack(pack: PackReport, *, opened: bool) -> tuple[str, ...]:
    return (
        pack.pack_id,
        pack.status,
        f"{pack.calls:,}",
        *([f"{pack.used_before:,}"] if opened else []),
        f"{pack.remaining:,}",
        f"{pack.lapsed:,}",
        to_second(parse_time(pack.starts_at)),
        to_second(parse_time(pack.expires_at)),
        yuan(pack.amount_micro_yuan),
    )


def _uses(reports: dict[str, TrialReport | CapabilityReport]) -> Iterator[tuple[str, CapabilityReport]]:
    """The capabilities of an app with which anything happened; the first if nothing did with any."""
    uses = [(name, use) for name in CAPABILITIES if isinstance(use := reports[name], CapabilityReport)]
    return iter([(name, use) for name, use in uses if use != CapabilityReport()] or uses[:1])
