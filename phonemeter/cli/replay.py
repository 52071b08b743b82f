"""`phonemeter replay`: the log metered again, to see differences or to rebuild the state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from metering.rules import Rules
from metering.topics import SINK_GROUP, WORKER_GROUP
from phonemeter.cli.option_groups import with_option_groups
from phonemeter.cli.progress_bar import ProgressBar
from phonemeter.cli.rule_options import DryRunRules
from phonemeter.errors import UserError
from phonemeter.event_file import open_event_file
from phonemeter.event_log import LogRules, recorded_rules, whole_log
from phonemeter.formats import yuan
from phonemeter.kafka_admin import admin
from phonemeter.replay.corrections import CorrectedEvent, read_corrections
from phonemeter.replay.dry_run import AppFigures, DryRunResult, dry_run
from phonemeter.replay.rebuild import check_ledger, empty_ledger, empty_state
from phonemeter.replay.service_groups import refuse_members
from phonemeter.settings import Settings, load
from phonemeter.stack.data_services import data_services
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json, say
from phonemeter.topic_reader import open_reader
from producers.clock import wall_clock_ms

INCOMPLETE: Final = 1
UNSETTLED: Final = (
    "A partition holds too many calls to settle late facts by the other rules: its figures after are those "
    "of the order of arrival."
)
APPS_SHOWN: Final = 100
SHOWN_FIGURES: Final = ("trial", "charged", "uncovered", "free", "exempt", "lapsed")


@with_option_groups
def replay(
    *,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Meter the log twice and show the difference; write nothing.")
    ] = False,
    rules: DryRunRules,
    corrections: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="Dry run: events, one in JSON per line (also compressed by gzip), each replaces the log's "
            "event of the same app and id, or is inserted by its time.",
        ),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Empty the state, so that the next worker rebuilds it.")
    ] = False,
    new_ledger: Annotated[
        bool,
        typer.Option("--new-ledger", help="With --confirm: empty the ledger too."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Meter the log on Kafka again, from its beginning.

    --dry-run shows per app what other rules or corrected events would change: it compares the rules
    by which the log was metered with the current settings, changed by the options. It may run at any time.

    --confirm empties the workers' state, after a check that metering the log by the current settings gives
    the ledger: the next worker meters everything again by its settings, which are those of the log from then
    on, and publishes the same entries, which the sink leaves out. With --new-ledger the ledger is emptied as
    well, and ClickHouse keeps the old one under another name. No worker (and for a new ledger no sink) may
    run. If the one-machine stack is down, Kafka is started for the replay.
    """
    for_dry_run = rules != DryRunRules() or corrections is not None
    _refuse_contradictions(dry=dry, confirm=confirm, new_ledger=new_ledger, for_dry_run=for_dry_run)
    settings = load()
    if confirm:
        _rebuild(settings, new_ledger=new_ledger, as_json=as_json)
        return
    other = rules.applied_to(settings.rules())
    found, before = _dry_run(settings, other, [] if corrections is None else _read(corrections))
    if as_json:
        print_json(_as_json(found) | {"settings_note": before.difference})
    else:
        _show(found, before)
    raise typer.Exit(INCOMPLETE if found.rejected_corrections else 0)


def _dry_run(
    settings: Settings, other: Rules, corrections: Sequence[CorrectedEvent]
) -> tuple[DryRunResult, LogRules]:
    with data_services(settings, ("kafka",)), open_reader(settings.kafka_access) as reader:
        before = recorded_rules(reader, settings.rules())
        rules = (before.log, other)
        total = sum(span.end for span in whole_log(reader).values())
        with ProgressBar("metering the log", total, Terminal(stderr=True)) as progress_bar:
            found = dry_run(reader, rules, corrections, now_ms=wall_clock_ms(), progress=progress_bar.show)
            return found, before


def _rebuild(settings: Settings, *, new_ledger: bool, as_json: bool) -> None:
    groups = (WORKER_GROUP, SINK_GROUP) if new_ledger else (WORKER_GROUP,)
    with data_services(settings, ("kafka", "engine") if new_ledger else ("kafka",)):
        with admin(settings.kafka_access) as client:
            refuse_members(client, groups)
        with open_reader(settings.kafka_access) as reader:
            log = whole_log(reader)
        total = sum(span.end for span in log.values())
        lines, aside = 0, ""
        if new_ledger:
            aside = empty_ledger(settings.kafka_access, settings.clickhouse)
        else:
            with ProgressBar("checking the ledger", total, Terminal(stderr=True)) as progress_bar:
                lines = check_ledger(settings.kafka_access, settings.rules(), log, progress_bar.show)
        empty_state(settings.kafka_access)
        with admin(settings.kafka_access) as client:
            # A worker that started meanwhile may have restored the old state.
            refuse_members(client, groups)
    if as_json:
        print_json({"records": total, "ledger_lines_checked": lines, "ledger_kept_as": aside or None})
        return
    told = (
        f"The ledger is empty{f'; ClickHouse keeps the old one as {aside}' if aside else ''}."
        if new_ledger
        else f"The current settings give the {lines:,} entries of the ledger."
    )
    say(f"{told} The state is empty: the next worker meters {total:,} records from the first one on.")


def _refuse_contradictions(*, dry: bool, confirm: bool, new_ledger: bool, for_dry_run: bool) -> None:
    if dry and confirm:
        raise UserError("Say what to do, --dry-run or --confirm, and not both.")
    if new_ledger and not confirm:
        raise UserError("--new-ledger goes with --confirm.")
    if not dry and not confirm:
        raise UserError("Say what to do: --dry-run shows what would differ, --confirm rebuilds the state.")
    if confirm and for_dry_run:
        raise UserError(
            "Other rules and corrected events are for --dry-run: a rebuild takes the settings and the log as "
            "they are."
        )


def _read(path: Path) -> list[CorrectedEvent]:
    with open_event_file(str(path)) as file:
        return read_corrections(file.lines(), wall_clock_ms())


def _as_json(found: DryRunResult) -> dict[str, object]:
    return {
        "records": found.records,
        "settled": found.settled,
        "rejected": {"before": found.rejected[0], "after": found.rejected[1]},
        "corrections": {
            "replaced": found.replaced,
            "inserted": found.inserted,
            "rejected": [one._asdict() for one in found.rejected_corrections],
        },
        "apps_changed": len(found.changed),
        "apps": {
            appid: {
                "before": before,
                "after": after,
                "difference": {
                    name: getattr(after, name) - getattr(before, name)
                    for name in AppFigures.__struct_fields__
                },
            }
            for appid, (before, after) in found.apps.items()
        },
    }


def _show(found: DryRunResult, before: LogRules) -> None:
    console = output()
    changed = found.changed
    if changed:
        print_table(console, _table(list(changed.items())[:APPS_SHOWN]))
    if len(changed) > APPS_SHOWN:
        console.print(f"{len(changed):,} apps differ; these are the first {APPS_SHOWN}, --json lists all.")
    told = f"{found.records:,} records metered; {len(changed):,} of {len(found.apps):,} apps differ."
    if found.replaced or found.inserted:
        told += f" Of the file, {found.replaced:,} replaced an event, {found.inserted:,} were inserted."
    console.print(f"{told} Nothing was written.")
    errors = output(stderr=True)
    if before.difference:
        errors.print(f"{before.difference} Both are compared.", style="yellow")
    if not found.settled:
        errors.print(UNSETTLED, style="yellow")
    for one in found.rejected_corrections:
        errors.print(f"line {one.line} would be rejected: {one.sentence}", style="red")


def _table(changed: Sequence[tuple[str, tuple[AppFigures, AppFigures]]]) -> Table:
    """A table with a column per figure in which some app differs."""
    figures = [
        name
        for name in SHOWN_FIGURES
        if any(getattr(before, name) != getattr(after, name) for _, (before, after) in changed)
    ]
    table = Table(
        "app",
        title="By the rules of the log → by the other rules",
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
    for name in (*figures, "cost ¥"):
        table.add_column(name, justify="right")
    for appid, (before, after) in changed:
        cells = [_difference(getattr(before, name), getattr(after, name)) for name in figures]
        table.add_row(appid, *cells, _money(before.amount_micro_yuan, after.amount_micro_yuan))
    return table


def _difference(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} → {after:,} ({after - before:+,})"


def _money(before: int, after: int) -> str:
    if before == after:
        return yuan(before)
    sign = "+" if after > before else "-"
    return f"{yuan(before)} → {yuan(after)} ({sign}{yuan(abs(after - before))})"
