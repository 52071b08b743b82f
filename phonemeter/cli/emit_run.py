"""One run of events into Kafka: refusals as they come, then a summary."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from phonemeter.errors import UserError
from phonemeter.terminal import output, print_json, say
from producers.bulk import BulkProducer
from producers.emission import CheckingPublisher, Emission, Refusal
from producers.settings import ProducerSettings


class EmitRun:
    """One run of events to Kafka, or, without settings, a dry run: refusals as they come, then a summary."""

    def __init__(self, settings: ProducerSettings | None, show: int, refused: Path | None) -> None:
        self._resources = ExitStack()
        self._settings = settings
        self._show = show
        self._refused_path = refused
        self._refused_file: BinaryIO | None = None
        self._shown: list[Refusal] = []
        self._reasons: Counter[str] = Counter()
        self.console = output(stderr=True)
        self._began_s = time.monotonic()
        self._took_s = 0.0
        self._stopped_because = ""
        self.interrupted = False

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            if self._refused_path is not None:
                self._refused_file = resources.enter_context(writable(self._refused_path))
            publisher = (
                CheckingPublisher()
                if self._settings is None
                else resources.enter_context(_producer(self._settings))
            )
            self.emission = Emission(publisher, self._refuse)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def finish(self, *, interrupted: bool) -> None:
        """Wait for the events in flight."""
        self.interrupted = interrupted
        self.emission.finish()
        self._took_s = time.monotonic() - self._began_s

    @property
    def stopped_because(self) -> str:
        """The reason why no more is sent; empty if there is none."""
        return self._stopped_because or self.emission.stopped_because

    @contextmanager
    def stop_on(self, kind: type[Exception]) -> Iterator[None]:
        """Stop on an error, which is reported in the summary."""
        try:
            yield
        except kind as error:
            self._stopped_because = str(error)

    def poll(self) -> bool:
        """Handle outcomes while there is nothing to send; return whether more may be sent."""
        self.emission.serve()
        return not self.stopped_because

    @property
    def complete(self) -> bool:
        """True if every line was accepted and, except in a dry run, delivered."""
        totals = self.emission.totals
        sent = self._settings is None or totals.delivered == totals.accepted
        return sent and totals.refused == 0 and not self.stopped_because

    def print_summary(self, *, as_json: bool, again: str | None = None, to_stderr: bool = False) -> None:
        """Print the summary, to stderr if stdout has the events.

        `again` is the command that continues, without its line number.
        """
        if as_json:
            print_json(self._summary(), stderr=to_stderr)
        else:
            say(self._sentences(again), stderr=to_stderr)

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
            "next_line": self.emission.next_line if self._is_incomplete else None,
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
        if self._is_incomplete and again is not None:
            lines.append(f"Go on with: {again} --from-line {self.emission.next_line}")
        return "\n".join(lines)

    @property
    def found_no_line(self) -> bool:
        """True if the input ended before the first line that was asked for."""
        totals = self.emission.totals
        return not (self._is_incomplete or totals.accepted or totals.refused)

    @property
    def _is_incomplete(self) -> bool:
        return self.interrupted or bool(self.stopped_because)


@contextmanager
def writable(path: Path) -> Iterator[BinaryIO]:
    """A file opened for writing, truncated; an error is a sentence."""
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
        # The emission has waited for all outcomes; events that are still open are given up.
        producer.close()
