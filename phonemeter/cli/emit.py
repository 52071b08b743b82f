"""`phonemeter emit`: a file or a stream of events into Kafka, with a verdict on each line."""

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from phonemeter.cli import INTERRUPTED
from phonemeter.cli.emit_run import EmitRun
from phonemeter.cli.interruption import Interruption
from phonemeter.cli.line_input import STDIN, LineInput
from phonemeter.cli.progress_bar import ProgressBar
from phonemeter.errors import UserError
from phonemeter.event_file import UnreadableError
from phonemeter.settings import load
from producers.jsonl import starting_at
from producers.metrics import Metrics
from sinks.metrics_server import serve_metrics

INCOMPLETE: Final = 1
SHOWN_DEFAULT: Final = 20


def emit(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Events, one CloudEvent in JSON per line; - reads stdin.")
    ],
    *,
    refused: Annotated[
        Path | None,
        typer.Option(help="Write every refused line here: its number, reason and sentence, as JSON Lines."),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many refused lines to show at most.")] = SHOWN_DEFAULT,
    from_line: Annotated[
        int, typer.Option(min=1, help="Start at this line, as after a run that stopped.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Serve metrics on this port while it runs.")
    ] = None,
) -> None:
    """Publish events from a file (also compressed by gzip), or from stdin without end.

    Each line is checked as the worker would check it. A refused line is
    reported and does not stop the others. Events of one app arrive in the
    order of the lines. A failed delivery stops the run, because later events
    must not overtake it, and the line to continue with is printed. An event
    that is emitted twice stays one call.

    The exit status is 0 if every line was delivered, 1 if any was refused or
    not delivered, 2 if the command was called wrongly, 130 after Ctrl-C.
    """
    settings = load()
    with ExitStack() as held:
        source = LineInput.open_named(file, held)
        _refuse_overwriting(file, refused)
        run = held.enter_context(EmitRun(None if dry_run else settings, show, refused))
        metrics = Metrics(lambda: run.emission.totals)
        if metrics_port is not None:
            held.enter_context(
                serve_metrics(
                    metrics.registry,
                    None,
                    settings.listen_host,
                    metrics_port,
                    service="command",
                    setting="--metrics-port",
                )
            )
        doing = f"{'checking' if dry_run else 'emitting'} {Path(file).name}"
        progress = held.enter_context(ProgressBar(doing, source.size_bytes, run.console))
        blocks = starting_at(source.blocks(run.poll), from_line)
        with Interruption() as interruption, run.stop_on(UnreadableError):
            for block in interruption.each(blocks):
                run.emission.offer_all(block.first, block.values)
                progress.show(source.position(block))
                if run.stopped_because:
                    break
        run.finish(interrupted=interruption.requested)
        if from_line > 1 and run.found_no_line:
            raise UserError(
                f"{file} has no event at line {from_line:,} or after it, so nothing was done; give "
                "--from-line the number that the earlier run printed."
            )
    run.print_summary(
        as_json=as_json, again=None if file == STDIN else f"phonemeter emit {shlex.quote(file)}"
    )
    if run.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if run.complete else INCOMPLETE)


def _refuse_overwriting(file: str, refused: Path | None) -> None:
    """Refuse to write refused lines to the input: opening it would empty it before it is read."""
    if refused is not None and file != STDIN and refused.exists() and refused.samefile(file):
        raise UserError(f"--refused {refused} is the file of events itself; name another file.")
