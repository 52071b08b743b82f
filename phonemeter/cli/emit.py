"""`phonemeter emit`: a file or a stream of events into Kafka, with a verdict on each line."""

import json
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, BinaryIO, Final, Self, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from phonemeter.cli import INTERRUPTED
from phonemeter.cli.serving import serving
from phonemeter.cli.source import STDIN, Source
from phonemeter.errors import UserError
from phonemeter.files import UnreadableError
from phonemeter.settings import load
from producers.bulk import BulkProducer
from producers.emission import DryRun, Emission, Refusal
from producers.lines import starting_at
from producers.metrics import Metrics
from producers.settings import ProducerSettings

INCOMPLETE: Final = 1
SHOWN_DEFAULT: Final = 20
PROGRESS_INTERVAL_S: Final = 0.1

Item = TypeVar("Item")


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
        int, typer.Option(min=1, help="Go on here: pass over the lines before, as after an earlier run.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Serve metrics on this port while it runs.")
    ] = None,
) -> None:
    """Publish events from a file (also compressed by gzip), or from stdin without end.

    Each line is checked as the stream would check it; a refused line is told
    and never stops the rest. Events of one app arrive in the order of the
    lines. A delivery that fails stops the run, because later events must not
    overtake; it says with which line to go on. What is emitted twice stays
    one call.

    The exit status is 0 if every line was delivered, 1 if any was refused or
    not delivered, 2 if the command was called wrongly, 130 after Ctrl-C.
    """
    settings = load()
    with ExitStack() as held:
        source = Source.opened(file, held)
        _refuse_overwriting(file, refused)
        sending = held.enter_context(Sending(None if dry_run else settings, show, refused))
        metrics = Metrics(lambda: sending.emission.totals)
        held.enter_context(serving(metrics.registry, settings.listen_host, metrics_port))
        doing = f"{'checking' if dry_run else 'emitting'} {file}"
        progress = held.enter_context(Gauge(doing, source.size_bytes, sending.console))
        blocks = starting_at(source.blocks(sending.goes_on), from_line)
        with Interruption() as interruption, sending.stopped_by(UnreadableError):
            for block in interruption.each(blocks):
                sending.emission.offer_all(block.first, block.values)
                progress.show(source.position(block))
                if sending.stopped_because:
                    break
        sending.finish(interrupted=interruption.asked)
        if from_line > 1 and sending.met_nothing:
            raise UserError(
                f"{file} has no event at line {from_line:,} or after it, so nothing was done; give "
                "--from-line the number with which an earlier run said to go on."
            )
    sending.tell(as_json=as_json, again=None if file == STDIN else f"phonemeter emit {shlex.quote(file)}")
    if sending.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if sending.complete else INCOMPLETE)


def _refuse_overwriting(file: str, refused: Path | None) -> None:
    """Opened to be written, a file is emptied: the events would be lost before they are read."""
    if refused is not None and file != STDIN and refused.exists() and refused.samefile(file):
        raise UserError(f"--refused {refused} is the file of events itself; name another file.")


class Sending:
    """One run of events to Kafka, or without settings to nowhere: refusals as they come, then a summary."""

    def __init__(self, settings: ProducerSettings | None, show: int, refused: Path | None) -> None:
        self._held = ExitStack()
        self._settings = settings
        self._show = show
        self._refused_path = refused
        self._refused_file: BinaryIO | None = None
        self._shown: list[Refusal] = []
        self._reasons: Counter[str] = Counter()
        self.console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self._began_s = time.monotonic()
        self._took_s = 0.0
        self._stopped_because = ""
        self.interrupted = False

    def __enter__(self) -> Self:
        with ExitStack() as held:
            if self._refused_path is not None:
                self._refused_file = held.enter_context(writable(self._refused_path))
            publisher = DryRun() if self._settings is None else held.enter_context(_producer(self._settings))
            self.emission = Emission(publisher, self._refuse)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def finish(self, *, interrupted: bool) -> None:
        """Wait for what is on its way."""
        self.interrupted = interrupted
        self.emission.finish()
        self._took_s = time.monotonic() - self._began_s

    @property
    def stopped_because(self) -> str:
        """Why no more is sent; empty as long as all is well."""
        return self._stopped_because or self.emission.stopped_because

    @contextmanager
    def stopped_by(self, kind: type[Exception]) -> Iterator[None]:
        """Take an error for the reason to stop: what was sent before is still told."""
        try:
            yield
        except kind as error:
            self._stopped_because = str(error)

    def goes_on(self) -> bool:
        """Let outcomes in while there is nothing to send, and say whether more may be sent."""
        self.emission.serve()
        return not self.stopped_because

    @property
    def complete(self) -> bool:
        """Whether every line was accepted and, unless nothing was to be sent, delivered."""
        totals = self.emission.totals
        sent = self._settings is None or totals.delivered == totals.accepted
        return sent and totals.refused == 0 and not self.stopped_because

    def tell(self, *, as_json: bool, again: str | None = None, to_stderr: bool = False) -> None:
        """Print the summary.

        Args:
            as_json: as one object.
            again: the command that would go on, given the line to go on with.
            to_stderr: because stdout is taken.
        """
        text = json.dumps(self._summary(), ensure_ascii=False) if as_json else self._sentences(again)
        (sys.stderr if to_stderr else sys.stdout).write(f"{text}\n")

    def _refuse(self, refusal: Refusal) -> None:
        self._reasons[refusal.reason] += 1
        if self._refused_file is not None:
            line = json.dumps(refusal._asdict(), ensure_ascii=False)
            self._refused_file.write(f"{line}\n".encode())
        if len(self._shown) < self._show:
            self._shown.append(refusal)
            self.console.print(f"line {refusal.line}: {refusal.reason}: {refusal.sentence}", style="red")

    def _summary(self) -> dict[str, object]:
        totals = self.emission.totals
        dry = self._settings is None
        return {
            "accepted": totals.accepted,
            "refused": totals.refused,
            "delivered": totals.delivered,
            "failed": totals.failed,
            "unconfirmed": 0 if dry else totals.accepted - totals.delivered - totals.failed,
            "refused_reasons": dict(self._reasons),
            "refused_lines": [refusal._asdict() for refusal in self._shown],
            "stopped_because": self.stopped_because or None,
            "first_failed_line": self.emission.first_failed_line,
            "next_line": self.emission.next_line if self._broken_off else None,
            "dry_run": dry,
            "interrupted": self.interrupted,
            "seconds": round(self._took_s, 3),
        }

    def _sentences(self, again: str | None) -> str:
        totals = self.emission.totals
        told = [f"{totals.accepted:,} accepted", f"{totals.refused:,} refused"]
        if self._settings is not None:
            told.append(f"{totals.delivered:,} delivered")
        lost = 0 if self._settings is None else totals.accepted - totals.delivered
        if lost:
            told.append(f"{lost:,} not confirmed")
        rate = (totals.accepted + totals.refused) / self._took_s if self._took_s else 0
        lines = [f"{', '.join(told)} in {self._took_s:,.1f} s ({rate:,.0f} events/s)."]
        if self._reasons:
            lines.append(
                "Refused: " + ", ".join(f"{count:,} {reason}" for reason, count in self._reasons.items())
            )
        if totals.refused > len(self._shown) and self._refused_path is None:
            lines.append("Not every refused line is shown; --refused FILE writes all of them.")
        if self.stopped_because:
            first = self.emission.first_failed_line
            where = f"Stopped: line {first} was not delivered. " if first else "Stopped. "
            lines.append(f"{where}{self.stopped_because}")
        if self._broken_off and again is not None:
            lines.append(f"Go on with: {again} --from-line {self.emission.next_line}")
        return "\n".join(lines)

    @property
    def met_nothing(self) -> bool:
        """Whether the input ended before the first line that was asked for."""
        totals = self.emission.totals
        return not (self._broken_off or totals.accepted or totals.refused)

    @property
    def _broken_off(self) -> bool:
        return self.interrupted or bool(self.stopped_because)


class Gauge:
    """A progress bar on a terminal, nothing anywhere else."""

    def __init__(self, description: str, total: float | None, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(description, total=total)
        self._next_s = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, completed: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """Move the bar; cheap enough for every event."""
        now = now_s()
        if now >= self._next_s:
            self._next_s = now + PROGRESS_INTERVAL_S
            self._progress.update(self._task, completed=completed)


class Interruption:
    """Ctrl-C and SIGTERM, heeded between two items: what is done with an item is done whole.

    A second one does not wait and raises KeyboardInterrupt wherever it is.
    """

    SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False
        self._between_items = False

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._heed) for number in self.SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def each(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, until interrupted, also while the next one is waited for."""
        while not self.asked:
            try:
                self._between_items = True
                item = next(items)
            except (StopIteration, KeyboardInterrupt):
                return
            finally:
                self._between_items = False
            yield item

    def _heed(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        impatient, self.asked = self.asked, True
        if impatient or self._between_items:
            raise KeyboardInterrupt


@contextmanager
def writable(path: Path) -> Iterator[BinaryIO]:
    """A file to write, emptied first; an error in a sentence."""
    try:
        file = path.open("wb")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}.") from None
    with file:
        yield file


@contextmanager
def _producer(settings: ProducerSettings) -> Iterator[BulkProducer]:
    producer = BulkProducer(settings)
    producer.connect()
    try:
        yield producer
    finally:
        # The emission has waited for all outcomes and told them; what is still open is given up.
        producer.close()
