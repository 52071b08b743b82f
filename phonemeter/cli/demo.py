"""`phonemeter demo`: traffic through a stack on this machine, from an empty directory to a checked ledger."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich import progress as bars

from phonemeter.cli import INTERRUPTED
from phonemeter.cli.foreground import stopped_by_signals
from phonemeter.demo import curve, report, traffic
from phonemeter.demo.console import console_link
from phonemeter.demo.ports import with_free_ports
from phonemeter.demo.run import DemoProgress, DemoResult, run
from phonemeter.errors import UserError
from phonemeter.settings import Settings, load
from phonemeter.stack.directory import DEMO, StackDirectory
from phonemeter.stack.stack import Stack
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal
from producers.clock import wall_clock_ms

UNACCOUNTED: Final = 1
CHECK_INTERVAL_S: Final = 0.5
PLAIN_COLUMNS: Final = 160
"""Width of the output where there is no terminal that has one."""

PROBLEMS_SHOWN_MAX: Final = 20
EXAMPLE: Final = "SELECT * FROM balances_now ORDER BY calls_left FORMAT PrettyCompact"


def demo(
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Events to publish, one CloudEvent in JSON per line, also compressed by gzip; without it, a "
            "simulated month."
        ),
    ] = None,
    exit_: Annotated[
        bool, typer.Option("--exit", help="End after the check instead of serving until Ctrl-C.")
    ] = False,
    as_is: Annotated[
        bool,
        typer.Option(
            "--as-is", help="Publish the events alone: buy no packs for apps that run out of calls."
        ),
    ] = False,
    continue_: Annotated[
        bool,
        typer.Option(
            "--continue", help="Continue with the data of the last demo, which is deleted otherwise."
        ),
    ] = False,
) -> None:
    """Show the whole pipeline: start everything, publish events, meter them, draw and check the result.

    The demo has a stack and a data directory of its own, so that it never touches other data. Its clock is
    that of the events. Without --as-is it buys a pack of 250 calls and 90 days for every app and capability
    that would run out of calls. The published events are kept in traffic.jsonl in its directory.

    The exit status is 0 if every event is accounted for and ClickHouse holds what offline metering of the
    same events gives, 130 if the demo was stopped before this check, and 1 otherwise.
    """
    began_s = time.monotonic()
    settings = _settings(load())
    console = _console()
    kept = settings.data_dir / "traffic.jsonl"
    lines = _traffic(file, settings, kept if continue_ else None, console, as_is=as_is)
    if not continue_:
        StackDirectory(settings.data_dir).wipe()
    stack = Stack(settings)
    outcome = None
    with stopped_by_signals(stack, console):
        _start(stack, console)
        traffic.write_lines(kept, lines)
        with _progress_display(console) as show:
            outcome = run(settings, lines, show=show, check_stack=stack.check)
        _print_result(outcome, kept, console)
        console.print(f"The whole demo took {time.monotonic() - began_s:.1f} s.")
        if not exit_:
            _wait_until_stopped(stack, kept, console, {appid for appid, _ in outcome.stored.uses})
    if outcome is None:
        raise typer.Exit(INTERRUPTED)
    if outcome.problems:
        raise typer.Exit(UNACCOUNTED)


def _settings(settings: Settings) -> Settings:
    return with_free_ports(
        settings.replaced(
            data_dir=settings.data_dir / DEMO,
            clock="events",
            business_database="",
            console_test_payments=settings.console_host == "127.0.0.1",
        )
    )


def _console() -> Terminal:
    console = Terminal(soft_wrap=False)
    return console if console.is_terminal else Terminal(width=PLAIN_COLUMNS)


def _traffic(
    file: Path | None, settings: Settings, kept: Path | None, console: Terminal, *, as_is: bool
) -> list[bytes]:
    if file is None and kept is not None and kept.exists():
        lines = traffic.read_file(kept)
        console.print(f"{len(lines):,} events of the last demo, from {kept}.")
        return lines
    if file is None:
        lines = traffic.simulated_month(wall_clock_ms())
        console.print(f"{len(lines):,} events of a simulated month (name a file of your own with --file).")
    else:
        lines = traffic.read_file(file)
        if not lines:
            raise UserError(f"The file {file} holds no event; name another with --file.")
        console.print(f"{len(lines):,} events from {file}.")
    if as_is:
        return lines
    lines, packs = traffic.with_packs(lines, settings.rules())
    bought = (
        "none, no app runs out of calls"
        if not packs
        else "one for " + ", ".join(f"{pack.appid} {pack.capability}" for pack in packs)
    )
    console.print(f"Packs of 250 calls and 90 days bought on top: {bought}.")
    return lines


def _start(stack: Stack, console: Terminal) -> None:
    began_s = time.monotonic()
    with console.status(
        "Starting Kafka, ClickHouse, the worker and the sink (the first time Kafka is downloaded) ..."
    ):
        stack.start()
        stack.wait_ready()
    console.print(
        f"Kafka, ClickHouse, the worker and the sink were ready after {time.monotonic() - began_s:.1f} s."
    )


class _ProgressDisplay:
    """Progress as bars on a terminal; elsewhere one line when a stage is complete."""

    def __init__(self, console: Terminal, live: bars.Progress | None) -> None:
        self._console = console
        self._live = live
        self._tasks = [live.add_task(name, total=None) for name in DemoProgress._fields] if live else []
        self._complete: set[str] = set()
        self._began_s = time.monotonic()

    def __call__(self, progress: DemoProgress, expected: int) -> None:
        if self._live is not None:
            for task, count in zip(self._tasks, progress, strict=True):
                self._live.update(task, completed=count, total=expected)
            return
        for name, count in zip(DemoProgress._fields, progress, strict=True):
            if count >= expected and name not in self._complete:
                self._complete.add(name)
                took_s = time.monotonic() - self._began_s
                self._console.print(f"{name:<9} {count:,} of {expected:,} after {took_s:.1f} s")


@contextmanager
def _progress_display(console: Terminal) -> Iterator[_ProgressDisplay]:
    if not console.is_terminal:
        yield _ProgressDisplay(console, None)
        return
    columns = (
        bars.TextColumn("{task.description:<9}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console) as live:
        yield _ProgressDisplay(console, live)


def _print_result(outcome: DemoResult, kept: Path, console: Terminal) -> None:
    for refusal in outcome.refusals:
        told = f"Line {refusal.line} of {kept} was refused: {refusal.reason}: {refusal.sentence}"
        console.print(told, soft_wrap=True)
    console.print()
    rows = report.rows_of(outcome.stored, outcome.rated)
    console.print(report.table_of(rows, outcome.rated, console.width))
    console.print()
    console.print(curve.draw(outcome.stored.days, console.width))
    console.print()
    if not outcome.published:
        console.print("Nothing new was published: the log has all of these events already.")
        _print_check(outcome, console)
        return
    rate_per_s = outcome.published / max(outcome.elapsed_s, 0.001)
    console.print(
        f"{outcome.published:,} events published in {outcome.publish_s:.1f} s, metered and visible in "
        f"ClickHouse after {outcome.elapsed_s:.1f} s: {rate_per_s:,.0f} events/s from end to end."
    )
    _print_check(outcome, console)


def _print_check(outcome: DemoResult, console: Terminal) -> None:
    problems = outcome.problems
    if not problems:
        refused = f", {outcome.refused:,} refused" if outcome.refused else ""
        console.print(
            f"Checked: {outcome.log_records:,} events in the log{refused}, {outcome.stored.outcomes:,} "
            "outcomes in ClickHouse; each figure and pack there equals that of offline metering.",
            style="green",
        )
        return
    console.print("Not everything is accounted for:", style="red")
    for problem in problems[:PROBLEMS_SHOWN_MAX]:
        console.print(f"  {problem}", style="red")
    if len(problems) > PROBLEMS_SHOWN_MAX:
        console.print(f"  and {len(problems) - PROBLEMS_SHOWN_MAX:,} more", style="red")


def _wait_until_stopped(stack: Stack, kept: Path, console: Terminal, appids: set[str]) -> None:
    endpoints = stack.endpoints.without_password()
    table = Table("what", "where", title="Served until Ctrl-C", title_justify="left")
    table.add_row("ClickHouse, HTTP", endpoints.clickhouse_http)
    table.add_row("ClickHouse, native protocol", endpoints.clickhouse)
    table.add_row("Kafka", endpoints.kafka)
    table.add_row("worker: metrics", f"{endpoints.worker}/metrics")
    table.add_row("sink: metrics", endpoints.sink_metrics)
    table.add_row("data and logs", str(stack.directory.path))
    table.add_row("the events", str(kept))
    print_table(console, table)
    console.print("For example, in another terminal:")
    console.print(
        f"  curl '{endpoints.clickhouse_http}/?database=phonemeter' --data '{EXAMPLE}'", soft_wrap=True
    )
    console.print("The console; choose any password:")
    console.print(f"  {console_link(stack.settings, appids)}", soft_wrap=True)
    sys.stdout.flush()
    while True:
        stack.check()
        time.sleep(CHECK_INTERVAL_S)
