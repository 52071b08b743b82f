"""`phonemeter rate`: the rules alone over a file of events, offline, and the accounts that result."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from metering.events import CAPABILITIES, VALUE_BYTES_MAX
from metering.rating import PackReport, Rating, RejectedLine, TrialReport, UseReport
from metering.rating import rate as rating_of
from metering.rules import Rules, TrialScope
from metering.times import EARLIEST_MS, LATEST_MS, format_time, parse_time
from phonemeter.cli.source import Source
from phonemeter.cli.telling import output, print_whole, to_second, yuan
from phonemeter.errors import UserError
from phonemeter.settings import load

REJECTED_SHOWN: Final = 10
FIGURES: Final = {
    "suc-\nceeded": "succeeded",
    "\ntrial": "trial_charged",
    "char-\nged": "charged",
    "un-\ncovered": "uncovered",
    "\nfree": "free",
    "\nexempt": "exempt",
    "de-\nnied": "denied",
    "fail-\ned": "failed",
    "dupli-\ncates": "duplicates",
}
"""The columns of counts, and the fields of a `UseReport` that they show."""
ALWAYS_SHOWN: Final = frozenset({"succeeded", "trial_charged", "charged", "uncovered"})
TOO_LONG: Final = bytes(VALUE_BYTES_MAX + 1)
"""Stands for a line that is too long to be an event, and was not kept."""


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
    trial_calls: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Calls of the trial quota. Default: the setting.")
    ] = None,
    billing_start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Calls before it are free. Default: the setting."),
    ] = None,
    trial_scope: Annotated[
        TrialScope | None,
        typer.Option(help="Whether capabilities share one trial quota. Default: the setting."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Meter a file of events by the rules alone, without Kafka and ClickHouse, and show the accounts.

    The file may be compressed by gzip. The order of the lines is the order of the log, whatever their times
    are. A line that is no event is counted as rejected and stops nothing. The figures come from the code that
    the stream runs. `emit` refuses more than that: what names a person in fields that the format does not
    know, and events of the future.
    """
    rules = _rules(trial_calls, billing_start, trial_scope)
    at_ms = None if at is None else _time("--at", at)
    rejected = _Rejected()
    with ExitStack() as held:
        lines = _every_line(Source.opened(file, held))
        rating = rating_of(lines, rules, at_ms=at_ms, on_rejected=rejected.keep)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rating), indent=2) + b"\n")
    else:
        rejected.show(rating.rejected)
        _show(rating)


class _Rejected:
    """The first lines that are no events."""

    def __init__(self) -> None:
        self._first: list[RejectedLine] = []

    def keep(self, line: RejectedLine) -> None:
        """Keep a line, unless there are enough."""
        if len(self._first) < REJECTED_SHOWN:
            self._first.append(line)

    def show(self, total: int) -> None:
        """Tell them on stderr, and how many there are in all."""
        console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        for line in self._first:
            console.print(f"line {line.number}: {line.reason}: {line.sentence}", style="red")
        if total > len(self._first):
            console.print(
                f"{total:,} lines are no events; these are the first {len(self._first)}.", style="red"
            )


def _rules(trial_calls: int | None, billing_start: str | None, trial_scope: TrialScope | None) -> Rules:
    """The rules that the stream would run by, except for what was asked for."""
    rules = load().rules()
    if trial_calls is not None:
        rules = replace(rules, trial_calls=trial_calls)
    if billing_start is not None:
        rules = replace(rules, billing_start_ms=_time("--billing-start", billing_start))
    if trial_scope is not None:
        rules = replace(rules, trial_scope=trial_scope)
    return rules


def _time(option: str, text: str) -> int:
    try:
        time_ms = parse_time(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}.") from None
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        allowed = f"{format_time(EARLIEST_MS)} to {format_time(LATEST_MS)}"
        raise UserError(f"{option}: {text!r} is not within {allowed}.")
    return time_ms


def _every_line(source: Source) -> Iterator[bytes]:
    """The lines of a file or of stdin, blank ones too so that they count, in bounded memory."""
    for block in source.blocks(lambda: True):
        for value in block.values:
            yield TOO_LONG if value is None else value


def _show(rating: Rating) -> None:
    console = output(soft_wrap=False)
    if not rating.apps:
        console.print("No app appears in these events.")
        return
    print_whole(console, _calls(rating))
    packs = _packs(rating)
    if packs.row_count:
        console.print()
        print_whole(console, packs)


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
    for name in ("calls", "left", "lapsed"):
        table.add_column(name, justify="right")
    table.add_column("starts")
    table.add_column("expires")
    table.add_column("cost ¥", justify="right")
    for appid, reports in rating.apps.items():
        for capability, use in _uses(reports):
            for pack in use.packs:
                table.add_row(appid, capability, *_pack(pack))
    return table


def _pack(pack: PackReport) -> tuple[str, ...]:
    return (
        pack.pack_id,
        pack.status,
        f"{pack.calls:,}",
        f"{pack.remaining:,}",
        f"{pack.lapsed:,}",
        to_second(parse_time(pack.starts_at)),
        to_second(parse_time(pack.expires_at)),
        yuan(pack.amount_micro_yuan),
    )


def _uses(reports: dict[str, TrialReport | UseReport]) -> Iterator[tuple[str, UseReport]]:
    """The capabilities of an app with which anything happened; the first if nothing did with any."""
    uses = [(name, use) for name in CAPABILITIES if isinstance(use := reports[name], UseReport)]
    return iter([(name, use) for name, use in uses if use != UseReport()] or uses[:1])
