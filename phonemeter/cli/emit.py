"""`phonemeter emit`: a file or a stream of events into Kafka, with a verdict on each line."""

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, BinaryIO, Final, Self, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from phonemeter.errors import UserError
from phonemeter.settings import load
from producers.client import EventProducer
from producers.emission import DryRun, Emission, Refusal, read_lines
from producers.errors import DeliveryError
from producers.settings import ProducerSettings

INCOMPLETE: Final = 1
INTERRUPTED: Final = 130
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Publish events from a file, or from stdin without end.

    Each line is checked as the stream would check it; a refused line is told
    and never stops the rest. Events of one app arrive in the order of the
    lines. A delivery that fails stops the run, because later events must not
    overtake: emit the same file again, what was delivered stays one call.

    The exit status is 0 if every line was delivered, 1 if any was refused or
    not delivered, 2 if the command was called wrongly, 130 after Ctrl-C.
    """
    settings = load()
    with ExitStack() as held:
        stream, size_bytes = _opened(file, held)
        sending = held.enter_context(Sending(None if dry_run else settings, show, refused))
        doing = f"{'checking' if dry_run else 'emitting'} {file}"
        progress = held.enter_context(Gauge(doing, size_bytes, sending.console))
        with Interruption() as interruption:
            for line in interruption.each(read_lines(stream)):
                sending.emission.offer(line.number, line.value)
                progress.show(line.bytes_read)
                if sending.emission.stopped_because:
                    break
        sending.finish(interrupted=interruption.asked)
    sending.tell(as_json=as_json)
    if sending.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if sending.complete else INCOMPLETE)


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
    def complete(self) -> bool:
        """Whether every line was accepted and, unless nothing was to be sent, delivered."""
        totals = self.emission.totals
        sent = self._settings is None or totals.delivered == totals.accepted
        return sent and totals.refused == 0 and not self.emission.stopped_because

    def tell(self, *, as_json: bool, to_stderr: bool = False) -> None:
        """Print the summary."""
        text = json.dumps(self._summary(), ensure_ascii=False) if as_json else self._sentences()
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
            "stopped_because": self.emission.stopped_because or None,
            "first_failed_line": self.emission.first_failed_line,
            "dry_run": dry,
            "interrupted": self.interrupted,
            "seconds": round(self._took_s, 3),
        }

    def _sentences(self) -> str:
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
        if self.emission.stopped_because:
            first = self.emission.first_failed_line
            where = f"Stopped: line {first} was not delivered. " if first else "Stopped. "
            lines.append(f"{where}{self.emission.stopped_because}")
        return "\n".join(lines)


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
def _producer(settings: ProducerSettings) -> Iterator[EventProducer]:
    producer = EventProducer(settings, patient=True)
    producer.connect()
    try:
        yield producer
    finally:
        # The emission has waited for all outcomes and told them; what is still open is given up.
        with suppress(DeliveryError):
            producer.close(timeout_s=0)


def _opened(file: str, held: ExitStack) -> tuple[BinaryIO, int | None]:
    if file == "-":
        return sys.stdin.buffer, None
    path = Path(file)
    try:
        stream = held.enter_context(path.open("rb"))
        size_bytes = path.stat().st_size
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror}.") from None
    return stream, size_bytes or None
