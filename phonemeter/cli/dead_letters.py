"""`phonemeter dead-letters`: records that are no events: listed, explained, corrected, published again."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from metering.dead_letters import DeadLetter
from phonemeter.cli.dead_letter_options import CorrectionOptions, LetterOptions
from phonemeter.cli.dead_letters_output import (
    LetterRow,
    RetryOutput,
    describe,
    letter_row,
    letters_table,
    show_letter,
)
from phonemeter.cli.option_groups import with_option_groups
from phonemeter.dead_letters.counted_events import CountedEvents
from phonemeter.dead_letters.fixes import find_fixes, sought_letter
from phonemeter.dead_letters.letter_log import LetterFilter, LetterId, LetterLog, letter_id, parse_letter_id
from phonemeter.dead_letters.originals import Originals
from phonemeter.dead_letters.retries import retry as retry_all
from phonemeter.errors import UserError
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import output, print_json
from phonemeter.topic_reader import open_reader
from producers.client import EventProducer
from producers.errors import DeliveryError
from producers.settings import ProducerSettings

SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 10_000
RETRIES_MAX: Final = 100_000
"""Letters per run of `retry --all`, which take about 30 MB of memory."""

INCOMPLETE: Final = 1

GROUP = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, show and retry the records that are no valid events. phone-dead-letters keeps them with all "
    "their bytes; in the output digits of phone numbers are masked.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@GROUP.command("list", short_help="The newest dead letters, newest last.")
@with_option_groups
def list_letters(
    *,
    letters: LetterOptions,
    limit: Annotated[
        int, typer.Option(min=1, max=SHOWN_MAX, metavar="N", help="How many to list at most.")
    ] = SHOWN_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest last, and count them by reason.

    `show` describes one of them, `retry` publishes it again.
    """
    letter_filter = letters.filter()
    reasons: Counter[str] = Counter()

    def rows(log: LetterLog) -> Iterator[LetterRow]:
        for letter in log.read(letter_filter):
            reasons[letter.reason] += 1
            yield letter_row(letter)

    with open_reader(load().kafka_access) as reader:
        log = LetterLog(reader)
        newest = sorted(heapq.nlargest(limit, rows(log)))
    if as_json:
        print_json(
            {
                "total": reasons.total(),
                "reasons": dict(reasons.most_common()),
                "letters": [{**row._asdict(), "identity": str(row.identity)} for row in newest],
            }
        )
        return
    console = output()
    if newest:
        print_table(console, letters_table(newest))
    counts = ", ".join(f"{count:,} {name}" for name, count in reasons.most_common())
    total = reasons.total()
    shown = f", the newest {len(newest):,} shown" if len(newest) < total else ""
    console.print(
        f"{total:,} dead letter{'' if total == 1 else 's'}{shown}{f': {counts}' if counts else ''}."
    )
    if log.other_records:
        console.print(f"{log.other_records:,} other records on the topic are no dead letters.")


@GROUP.command(short_help="One dead letter: reason, bytes, correction.")
def show(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="IDENTITY", help="Partition and offset, such as 2-417, or phone-events-2-417."
        ),
    ],
    *,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write its bytes to this file, to be edited; refused if it has a phone number.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: reason, bytes, how to correct it, and whether it was published again since.

    To find that, phone-events is read from the time of the dead letter on.
    """
    with open_reader(load().kafka_access) as reader:
        letter = LetterLog(reader).find(parse_letter_id(identity))
        fix = find_fixes(reader, [sought_letter(letter)]).get(letter_id(letter))
        if save is not None:
            _save(Originals(reader).whole(letter), save)
    if as_json:
        print_json(describe(letter, fix))
    else:
        show_letter(letter, fix)


@GROUP.command(short_help="Correct dead letters and publish them again.")
@with_option_groups
def retry(
    identities: Annotated[
        list[str] | None,
        typer.Argument(metavar="IDENTITY", help="The dead letters; or --all.", show_default=False),
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="All dead letters that --reason, --app and --since select.")
    ] = False,
    letters: LetterOptions,
    correction: CorrectionOptions,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were published again already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish dead letters again, as they are or corrected, with their subject as the key.

    Each is checked like every event; one that is still invalid is reported and not sent. One that was
    retried before, or sent again by its producer, is skipped without --again; even then its id keeps it from
    counting twice. An event beyond the horizon of duplicates is published to be counted, unless the ledger in
    ClickHouse has it. With --set, a VALUE that is valid JSON is read as JSON, any other as text.

    The exit status is 0 if every letter was published (with --all: or was fixed already), 1 if not, 2 if the
    command was called wrongly.
    """
    chosen = [parse_letter_id(text) for text in dict.fromkeys(identities or [])]
    letter_filter = letters.filter()
    _refuse_contradictions(chosen, letter_filter, correction, every=every)
    letter_correction = correction.read()
    settings = load()
    report = RetryOutput(every=every, quiet=as_json, most=RETRIES_MAX)
    with open_reader(settings.kafka_access) as reader, open_reader(settings.kafka_access) as beside:
        log = LetterLog(reader)
        found = islice(log.read(letter_filter), RETRIES_MAX) if every else map(log.find, chosen)
        sought = [sought_letter(letter) for letter in found]
        fixes = {} if again else find_fixes(reader, sought)
        names = [one.identity for one in sought]
        with _producer(settings) as producer:
            originals = Originals(beside)
            retry_all(
                _read_again(log, names),
                letter_correction,
                producer,
                fixes,
                report.keep,
                whole=originals.whole,
                counted=CountedEvents(settings).place_of,
            )
    report.finish(len(sought), as_json=as_json)
    raise typer.Exit(0 if report.complete(len(sought)) else INCOMPLETE)


@contextmanager
def _producer(settings: ProducerSettings) -> Iterator[EventProducer]:
    producer = EventProducer(settings, patient=True)
    producer.connect()
    try:
        yield producer
    finally:
        # Every outcome was reported already; a failure need not be raised as well.
        with suppress(DeliveryError):
            producer.close(timeout_s=0)


def _read_again(log: LetterLog, names: Sequence[LetterId]) -> Iterator[DeadLetter]:
    """Read the letters again, one at a time, because all together may not fit into memory."""
    if len(names) == 1:
        yield log.find(names[0])
        return
    left = set(names)
    for letter in log.read(LetterFilter()):
        if letter_id(letter) in left:
            left.discard(letter_id(letter))
            yield letter
            if not left:
                return


def _refuse_contradictions(
    chosen: Sequence[LetterId], letter_filter: LetterFilter, correction: CorrectionOptions, *, every: bool
) -> None:
    if bool(chosen) == every:
        raise UserError("Give the names of the dead letters to retry, or --all, but not both.")
    if not every and letter_filter != LetterFilter():
        raise UserError("--reason, --app and --since need --all; they cannot be combined with names.")
    if correction.edit is not None and (every or len(chosen) != 1):
        raise UserError("--edit gives one event, so it needs the name of one dead letter.")
    if correction.edit is not None and (correction.set_fields or correction.unset_fields):
        raise UserError("--edit gives the whole event; make the changes of --set and --unset in that file.")


def _save(letter: DeadLetter, path: Path) -> None:
    if letter.reason == "phone_number":
        raise UserError(
            "It has a phone number, so its bytes are not written; correct it with retry --set or --unset."
        )
    try:
        path.write_bytes(letter.value or b"")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}.") from None
