"""`phonemeter import`: past calls, purchases, refunds and registrations from files into the ledger."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, BinaryIO, Final

import typer

from metering.batch_ids import COUNT, COUNT_ATTRIBUTE
from metering.times import DAY_MS, format_time
from phonemeter.cli import INTERRUPTED
from phonemeter.cli.emit_run import writable
from phonemeter.cli.import_options import FileOptions, MappingOptions, RunOptions, command_again
from phonemeter.cli.import_report import ImportReport
from phonemeter.cli.interruption import Interruption
from phonemeter.cli.option_groups import with_option_groups
from phonemeter.cli.progress_bar import ProgressBar
from phonemeter.errors import OperationError, UserError
from phonemeter.history.counted_events import (
    MonthCalls,
    calls_of_ledger,
    facts_of_fullest_partition,
    mark_counted,
)
from phonemeter.history.ledger_progress import wait_for_ledger
from phonemeter.history.loading import LoadedFile, RefusedLine, load, refuse_missing_columns
from phonemeter.history.opening import open_table
from phonemeter.history.staging import Staging
from phonemeter.settings import Settings
from phonemeter.settings import load as load_settings
from phonemeter.terminal import output
from producers.bulk import BulkProducer
from producers.clock import wall_clock_ms
from producers.emission import Emission, Refusal

INCOMPLETE: Final = 1
FILES_MAX: Final = 1_000
COUNTED: Final = f',"{COUNT_ATTRIBUTE}":"{COUNT}"}}'.encode()


@with_option_groups
def import_history(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="CSV, JSON Lines or Parquet; gzip for the first two."),
    ],
    *,
    file: FileOptions,
    meaning: MappingOptions,
    run: RunOptions,
) -> None:
    """Publish past facts from files: calls, purchases, refunds and registrations.

    Columns are found by their names, by --column or a mapping file. All files
    are read first, and then published in order of time. What the ledger has
    already is not published again, so a file may be imported twice. A fact
    without an id has one from its app and code, or from its content.

    Columns of phone numbers and openids are never read. Alerts about what is
    more than a day past are not sent.

    The exit status is 0 if every line was delivered (or would be), 1 if any
    was refused or not delivered, 2 if the command was called wrongly, 130
    after Ctrl-C.
    """
    began_s = time.monotonic()
    settings = load_settings()
    if len(files) > FILES_MAX:
        raise UserError(f"{len(files):,} files are more than the {FILES_MAX:,} that one import reads.")
    with ExitStack() as held:
        imported = _Import(files, file, meaning, run, held)
        with Interruption() as interruption:
            imported.load_files(interruption)
            if not interruption.requested and not run.without_ledger:
                imported.ask_ledger(settings, interruption)
            if not interruption.requested and not run.dry_run:
                imported.publish(settings, interruption)
        report = imported.report(interruption.requested, time.monotonic() - began_s)
        if run.as_json:
            report.print_json()
        else:
            again = None
            if report.next_ms is not None:
                again = command_again(files, file, meaning, run, since=format_time(report.next_ms))
            report.print_text(output(), again)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if report.complete else INCOMPLETE)


class _Import:
    """One import: files are loaded, compared with the ledger, published and reported."""

    def __init__(
        self, files: list[str], file: FileOptions, meaning: MappingOptions, run: RunOptions, held: ExitStack
    ) -> None:
        self._run = run
        self._period = run.period()
        self._mapping, self._moments = meaning.read()
        reading = file.read()
        self._tables = [open_table(name, self._mapping, reading, held) for name in files]
        refuse_missing_columns(self._tables, self._mapping)
        self._console = output(stderr=True)
        self._refused_file: BinaryIO | None = None
        if run.refused is not None:
            if any(run.refused.exists() and run.refused.samefile(name) for name in files):
                raise UserError(f"--refused {run.refused} is a file that is imported; name another file.")
            self._refused_file = held.enter_context(writable(run.refused))
        self._staging = held.enter_context(Staging.open(self._period))
        self._loaded: list[LoadedFile] = []
        self._shown: list[RefusedLine] = []
        self._reasons: Counter[str] = Counter()
        self._others: list[MonthCalls] = []
        self._notes: list[str] = []
        self._asked = False
        self._emission: Emission | None = None
        self._next_ms: int | None = None
        self._stopped_because = ""

    def load_files(self, interruption: Interruption) -> None:
        """Read every line into the staging."""
        with self._progress("reading") as show:
            loading = load(
                self._tables,
                self._mapping,
                self._moments,
                self._staging,
                now_ms=wall_clock_ms(),
                on_refused=self._refuse,
                on_progress=show,
            )
            for loaded in interruption.each(loading):
                if not self._loaded or self._loaded[-1] is not loaded:
                    self._loaded.append(loaded)

    def ask_ledger(self, settings: Settings, interruption: Interruption) -> None:
        """Mark what was counted already; a dry run that cannot know it says so."""
        if not self._staging.apps():
            return
        try:
            with self._progress("comparing with the ledger") as show:
                for _ in interruption.each(wait_for_ledger(settings)):
                    show(0)
                for share in interruption.each(mark_counted(self._staging, settings)):
                    show(share)
            if interruption.requested:
                return
            self._others = calls_of_ledger(self._staging, settings)
            self._note_settling(settings)
            self._note_forgetting(facts_of_fullest_partition(self._staging, settings.kafka_access), settings)
            self._asked = True
        except OperationError as error:
            if not self._run.dry_run:
                raise
            self._notes.append(f"What was counted already is not known: {error}")

    def _note_settling(self, settings: Settings) -> None:
        horizon_ms = settings.rules().settle_horizon_ms
        too_old = self._staging.before(wall_clock_ms() - horizon_ms)
        if too_old and settings.clock == "wall":
            self._notes.append(
                f"{too_old:,} facts are older than the {horizon_ms // DAY_MS:,} days that are settled "
                "(settle_horizon_d): calls among them whose pack has lapsed stay uncovered (too_late)."
            )

    def _note_forgetting(self, facts: int, settings: Settings) -> None:
        if facts > settings.remembered_ids_max:
            self._notes.append(
                f"One partition gets {facts:,} facts and remembers {settings.remembered_ids_max:,} ids "
                "(remembered_ids_max): repeats of live events from before this import will be held "
                "(beyond_horizon) instead of recognised."
            )

    def publish(self, settings: Settings, interruption: Interruption) -> None:
        """Publish the facts in order of time."""
        total = self._staging.totals().chosen
        with BulkProducer(settings) as producer, self._progress("publishing") as show:
            emission = self._emission = Emission(producer, self._refuse_event)
            for batch in interruption.each(self._staging.batches()):
                values = [value[:-1] + COUNTED for value in batch.values] if self._asked else batch.values
                emission.offer_all(batch.first, values)
                show(batch.first / total)
                if emission.stopped_because:
                    break
            emission.finish()
        self._stopped_because = emission.stopped_because
        if interruption.requested or self._stopped_because:
            self._next_ms = self._staging.time_of(emission.next_line)

    def report(self, interrupted: bool, took_s: float) -> ImportReport:  # noqa: FBT001 - one fact of the report
        """The report."""
        dry = self._emission is None and (self._run.dry_run or interrupted)
        return ImportReport(
            files=self._loaded,
            counts=list(self._staging.counts()),
            others=self._others,
            refused=self._shown,
            reasons=self._reasons,
            totals=self._staging.totals(),
            repeated=self._staging.repeated,
            delivery=None if dry or self._emission is None else self._emission.totals,
            stopped_because=self._stopped_because,
            interrupted=interrupted,
            next_ms=self._next_ms,
            ledger_asked=self._asked,
            notes=self._notes,
            took_s=took_s,
        )

    def _refuse(self, refused: RefusedLine) -> None:
        self._reasons[refused.reason] += 1
        if self._refused_file is not None:
            line = json.dumps(refused._asdict(), ensure_ascii=False)
            self._refused_file.write(f"{line}\n".encode())
        if len(self._shown) < self._run.show:
            self._shown.append(refused)
            self._console.print(
                f"{refused.file}, line {refused.line}: {refused.reason}: {refused.sentence}", style="red"
            )

    def _refuse_event(self, refusal: Refusal) -> None:
        """Refuse a fact that was valid when it was read, as one that an hour of the clock made too early."""
        self._refuse(RefusedLine("the facts in order of time", *refusal))

    @contextmanager
    def _progress(self, doing: str) -> Iterator[Callable[[float], None]]:
        with ProgressBar(doing, 1.0, self._console) as bar:
            yield bar.show
