"""`phonemeter replay`: the log rated again, to see what would differ, or to build the state anew."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from metering.rules import Rules, TrialScope
from metering.times import EARLIEST_MS, LATEST_MS, SECOND_MS, format_time, parse_time
from metering.topics import SINK_GROUP, WORKER_GROUP
from phonemeter.cli.emit import Gauge
from phonemeter.cli.telling import output, print_json, print_whole, yuan
from phonemeter.errors import UserError
from phonemeter.files import opened
from phonemeter.replay.corrections import Correction, read_corrections
from phonemeter.replay.dry_run import DryRun, Figures, dry_run, whole_log
from phonemeter.replay.reading import reading
from phonemeter.replay.rebuilding import check_ledger, empty_ledger, empty_state, refuse_members
from phonemeter.replay.serving import serving
from phonemeter.settings import Settings, load
from phonemeter.stack.kafka.topics import admin
from producers.clock import wall_clock_ms

INCOMPLETE: Final = 1
APPS_SHOWN: Final = 100
SHOWN_FIGURES: Final = ("trial", "charged", "uncovered", "free", "exempt", "lapsed")


def replay(
    *,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Rate the log twice and show the difference; write nothing.")
    ] = False,
    trial_calls: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Dry run: calls of the trial quota.")
    ] = None,
    billing_start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Dry run: calls before it are free.")
    ] = None,
    allowed_lateness: Annotated[
        int | None,
        typer.Option(min=0, metavar="S", help="Dry run: seconds that a pack stays open for late events."),
    ] = None,
    trial_scope: Annotated[
        TrialScope | None, typer.Option(help="Dry run: whether capabilities share one trial quota.")
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="Dry run: events, one in JSON per line (also compressed by gzip), each instead of the log's "
            "event of the same app and id, or put in by its time.",
        ),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Empty the state, so that the next worker rebuilds it.")
    ] = False,
    new_ledger: Annotated[
        bool,
        typer.Option("--new-ledger", help="With --confirm: the ledger too, by today's settings."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rate the log on Kafka again, from its beginning.

    --dry-run shows per app what other rules or corrected events would change, beside today's settings. It may
    run at any time.

    --confirm empties the workers' state, after a check that the ledger is what today's settings say of the
    log: the next worker meters everything again and publishes the same lines, which the sink knows. With
    --new-ledger the ledger is emptied as well, and ClickHouse keeps the old one under another name. No worker
    (and for a new ledger no sink) may run. Of a one-machine stack that is down, Kafka is started for it.
    """
    asked = (trial_calls, billing_start, allowed_lateness, trial_scope, corrections)
    _refuse_contradictions(asked, dry=dry, confirm=confirm, new_ledger=new_ledger)
    settings = load()
    today = settings.rules()
    if confirm:
        _rebuild(settings, new_ledger=new_ledger, as_json=as_json)
        return
    other = _changed(today, trial_calls, billing_start, allowed_lateness, trial_scope)
    found = _dry_run(settings, (today, other), [] if corrections is None else _read(corrections))
    if as_json:
        print_json(_described(found))
    else:
        _show(found)
    raise typer.Exit(INCOMPLETE if found.rejected_corrections else 0)


def _dry_run(settings: Settings, rules: tuple[Rules, Rules], corrections: Sequence[Correction]) -> DryRun:
    with serving(settings, ("kafka",)), reading(settings.kafka) as reader:
        total = sum(span.end for span in whole_log(reader).values())
        with Gauge("rating the log", total, Console(stderr=True)) as gauge:
            return dry_run(reader, rules, corrections, now_ms=wall_clock_ms(), progress=gauge.show)


def _rebuild(settings: Settings, *, new_ledger: bool, as_json: bool) -> None:
    groups = (WORKER_GROUP, SINK_GROUP) if new_ledger else (WORKER_GROUP,)
    with serving(settings, ("kafka", "engine") if new_ledger else ("kafka",)):
        with admin(settings.kafka) as client:
            refuse_members(client, groups)
        with reading(settings.kafka) as reader:
            log = whole_log(reader)
        total = sum(span.end for span in log.values())
        lines, aside = 0, ""
        if new_ledger:
            aside = empty_ledger(settings.kafka, settings.clickhouse)
        else:
            with Gauge("checking the ledger", total, Console(stderr=True)) as gauge:
                lines = check_ledger(settings.kafka, settings.rules(), log, gauge.show)
        empty_state(settings.kafka)
        with admin(settings.kafka) as client:
            # One that began meanwhile may have taken the old state over.
            refuse_members(client, groups)
    if as_json:
        print_json({"records": total, "ledger_lines_checked": lines, "ledger_kept_as": aside or None})
        return
    told = (
        f"The ledger is empty{f'; ClickHouse keeps the old one as {aside}' if aside else ''}."
        if new_ledger
        else f"The ledger's {lines:,} lines are what today's settings say of the log."
    )
    typer.echo(f"{told} The state is empty: the next worker meters {total:,} records from the first one on.")


def _refuse_contradictions(asked: Sequence[object], *, dry: bool, confirm: bool, new_ledger: bool) -> None:
    if dry and confirm:
        raise UserError("Say what to do, --dry-run or --confirm, and not both.")
    if new_ledger and not confirm:
        raise UserError("--new-ledger goes with --confirm.")
    if not dry and not confirm:
        raise UserError("Say what to do: --dry-run shows what would differ, --confirm rebuilds the state.")
    if confirm and any(one is not None for one in asked):
        raise UserError(
            "Other rules and corrected events are for --dry-run: a rebuild takes the settings and the log as "
            "they are."
        )


def _changed(
    rules: Rules,
    trial_calls: int | None,
    billing_start: str | None,
    allowed_lateness_s: int | None,
    trial_scope: TrialScope | None,
) -> Rules:
    if trial_calls is not None:
        rules = replace(rules, trial_calls=trial_calls)
    if billing_start is not None:
        rules = replace(rules, billing_start_ms=_time(billing_start))
    if allowed_lateness_s is not None:
        rules = replace(rules, allowed_lateness_ms=allowed_lateness_s * SECOND_MS)
    if trial_scope is not None:
        rules = replace(rules, trial_scope=trial_scope)
    return rules


def _time(text: str) -> int:
    try:
        time_ms = parse_time(text)
    except ValueError as error:
        raise UserError(f"--billing-start: {error}.") from None
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        allowed = f"{format_time(EARLIEST_MS)} to {format_time(LATEST_MS)}"
        raise UserError(f"--billing-start: {text!r} is not within {allowed}.")
    return time_ms


def _read(path: Path) -> list[Correction]:
    with opened(str(path)) as file:
        return read_corrections(file.lines(), wall_clock_ms())


def _described(found: DryRun) -> dict[str, object]:
    return {
        "records": found.records,
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
                    name: getattr(after, name) - getattr(before, name) for name in Figures.__struct_fields__
                },
            }
            for appid, (before, after) in found.apps.items()
        },
    }


def _show(found: DryRun) -> None:
    console = output(soft_wrap=False)
    changed = found.changed
    if changed:
        print_whole(console, _table(list(changed.items())[:APPS_SHOWN]))
    if len(changed) > APPS_SHOWN:
        console.print(f"{len(changed):,} apps differ; these are the first {APPS_SHOWN}, --json tells all.")
    told = f"{found.records:,} records rated; {len(changed):,} of {len(found.apps):,} apps differ."
    if found.replaced or found.inserted:
        told += f" Of the file, {found.replaced:,} took an event's place, {found.inserted:,} were put in."
    console.print(f"{told} Nothing was written.")
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for one in found.rejected_corrections:
        errors.print(f"line {one.line} would be rejected at its place: {one.sentence}", style="red")


def _table(changed: Sequence[tuple[str, tuple[Figures, Figures]]]) -> Table:
    """Only the figures in which some app differs have a column."""
    figures = [
        name
        for name in SHOWN_FIGURES
        if any(getattr(before, name) != getattr(after, name) for _, (before, after) in changed)
    ]
    table = Table(
        "app",
        title="By today's settings, and by the others",
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
