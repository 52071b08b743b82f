"""`phonemeter dead-letters`: the records that are no events, listed, explained, corrected and put back."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, NamedTuple, get_args

import typer
from rich.table import Table

from metering.dead_letters import DeadLetter
from metering.events import VALUE_BYTES_MAX, RejectionReason
from metering.times import format_time, parse_time
from phonemeter.cli.telling import output, print_json, print_whole, to_second
from phonemeter.dead_letters.advice import advice_for
from phonemeter.dead_letters.fixes import Fix, find_fixes, sought
from phonemeter.dead_letters.letters import (
    Identity,
    LetterLog,
    Wanted,
    claim_of,
    identity_of,
    parse_identity,
)
from phonemeter.dead_letters.masking import printable, shown_bytes, shown_text, without_phone_numbers
from phonemeter.dead_letters.retrying import Correction, Outcome, fixed_sentence, parse_assignment, parse_path
from phonemeter.dead_letters.retrying import retry as retry_all
from phonemeter.errors import UserError
from phonemeter.replay.reading import reading
from phonemeter.settings import load
from producers.client import EventProducer
from producers.errors import DeliveryError
from producers.settings import ProducerSettings

SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 10_000
TEXT_SHOWN_MAX: Final = 4_096
RETRIES_MAX: Final = 100_000
"""Letters per run of `retry --all`: what is remembered of each makes about 30 MB then."""

INCOMPLETE: Final = 1
REASONS: Final = get_args(RejectionReason)

GROUP = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, explain and put back the records that are no events. They lie in phone-dead-letters with all "
    "their bytes; digits of phone numbers are masked wherever they are shown.",
)

Reason = Annotated[
    str | None, typer.Option(metavar="REASON", help="Only letters with this reason, such as not_json.")
]
App = Annotated[
    str | None, typer.Option("--app", "--key", metavar="APPID", help="Only letters of this app, or key.")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only records since this time, such as 2026-10-17T10:05:03+08:00."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Row(NamedTuple):
    """A letter in the list: all but its bytes, fit to be shown."""

    recorded_at_ms: int
    identity: Identity
    reason: str
    app: str
    sentence: str


@GROUP.command("list", short_help="The newest letters, newest last.")
def list_letters(
    *,
    reason: Reason = None,
    app: App = None,
    since: Since = None,
    limit: Annotated[
        int, typer.Option(min=1, max=SHOWN_MAX, metavar="N", help="How many to list at most.")
    ] = SHOWN_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest last, and count them by reason.

    `show` tells more about one of them, `retry` puts it back.
    """
    wanted = _wanted(reason, app, since)
    reasons: Counter[str] = Counter()

    def rows(letters: Iterator[DeadLetter]) -> Iterator[Row]:
        for letter in letters:
            reasons[letter.reason] += 1
            yield _row(letter)

    with reading(load().kafka) as reader:
        log = LetterLog(reader)
        newest = sorted(heapq.nlargest(limit, rows(log.read(wanted))))
    if as_json:
        print_json(
            {
                "total": reasons.total(),
                "reasons": dict(reasons.most_common()),
                "letters": [
                    {
                        **row._asdict(),
                        "identity": str(row.identity),
                        "recorded_at": format_time(row.recorded_at_ms),
                    }
                    for row in newest
                ],
            }
        )
        return
    console = output()
    if newest:
        print_whole(console, _table(newest))
    counts = ", ".join(f"{count:,} {name}" for name, count in reasons.most_common())
    total = reasons.total()
    shown = f", the newest {len(newest):,} shown" if len(newest) < total else ""
    console.print(
        f"{total:,} dead letter{'' if total == 1 else 's'}{shown}{f': {counts}' if counts else ''}."
    )
    if log.strangers:
        console.print(f"{log.strangers:,} other records on the topic are no dead letters.")


@GROUP.command(short_help="One letter: why, its bytes, what would make it valid.")
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
        typer.Option(metavar="FILE", help="Write its bytes here, to be edited; not those of a phone number."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: what is wrong, its bytes, what would make it an event, and what fixed it since.

    The fix is found by reading phone-events from the letter's time on.
    """
    with reading(load().kafka) as reader:
        letter = LetterLog(reader).find(parse_identity(identity))
        fix = find_fixes(reader, [sought(letter)]).get(identity_of(letter))
    if save is not None:
        _save(letter, save)
    if as_json:
        print_json(_described(letter, fix))
    else:
        _show(letter, fix)


@GROUP.command(short_help="Correct letters and publish them again.")
def retry(
    identities: Annotated[
        list[str] | None,
        typer.Argument(metavar="IDENTITY", help="The letters; or --all.", show_default=False),
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="All letters that --reason, --app and --since leave.")
    ] = False,
    reason: Reason = None,
    app: App = None,
    since: Since = None,
    edit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Publish the event in this file instead of the letter."),
    ] = None,
    set_fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Set a field, such as data.calls=250.", show_default=False
        ),
    ] = None,
    unset_fields: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="PATH", help="Leave a field out.", show_default=False),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were fixed already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish dead letters again, as they are or corrected, with their subject as the key.

    Each is checked as every event is: what is still wrong is told and not sent. What was retried before, or
    sent again by its producer, is left alone unless --again says otherwise; even then its id keeps it from
    counting twice. With --set, a VALUE that is JSON stands for what it says, anything else for its text.

    The exit status is 0 if every letter was published (with --all: or was fixed already), 1 if not, 2 if the
    command was called wrongly.
    """
    chosen = [parse_identity(text) for text in dict.fromkeys(identities or [])]
    wanted = _wanted(reason, app, since)
    _refuse_contradictions(chosen, wanted, edit, set_fields, unset_fields, every=every)
    correction = Correction(
        None if edit is None else _read_event(edit),
        tuple(parse_assignment(text) for text in set_fields or []),
        tuple(parse_path(text) for text in unset_fields or []),
    )
    settings = load()
    report = _Report(every=every, quiet=as_json)
    with reading(settings.kafka) as reader:
        log = LetterLog(reader)
        letters = _all(log, wanted) if every else (log.find(one) for one in chosen)
        remembered = [sought(letter) for letter in letters]
        fixes = {} if again else find_fixes(reader, remembered)
        names = [one.identity for one in remembered]
        with _producer(settings) as producer:
            retry_all(_again(log, names), correction, producer, fixes, report.keep)
    report.finish(len(remembered), as_json=as_json)
    raise typer.Exit(0 if report.complete(len(remembered)) else INCOMPLETE)


@contextmanager
def _producer(settings: ProducerSettings) -> Iterator[EventProducer]:
    producer = EventProducer(settings, patient=True)
    producer.connect()
    try:
        yield producer
    finally:
        # Every outcome was waited for and told; a failure has no need to be raised as well.
        with suppress(DeliveryError):
            producer.close(timeout_s=0)


def _all(log: LetterLog, wanted: Wanted) -> Iterator[DeadLetter]:
    return islice(log.read(wanted), RETRIES_MAX)


def _again(log: LetterLog, names: Sequence[Identity]) -> Iterator[DeadLetter]:
    """The letters once more, one at a time, because all of them together may not fit into memory."""
    if len(names) == 1:
        yield log.find(names[0])
        return
    left = set(names)
    for letter in log.read(Wanted()):
        if identity_of(letter) in left:
            left.discard(identity_of(letter))
            yield letter
            if not left:
                return


class _Report:
    """What became of the retries, told as it happens."""

    def __init__(self, *, every: bool, quiet: bool) -> None:
        self._every = every
        self._quiet = quiet
        self._console = output()
        self._errors = output(stderr=True)
        self._outcomes: list[Outcome] = []
        self._verdicts: Counter[str] = Counter()

    def keep(self, outcome: Outcome) -> None:
        self._verdicts[outcome.verdict] += 1
        if self._quiet:
            self._outcomes.append(outcome)
        elif outcome.place is not None:
            self._console.print(f"{outcome.identity}: published as {Identity(*outcome.place)}")
        elif outcome.verdict != "fixed already":
            self._errors.print(f"{outcome.identity}: {outcome.verdict}: {outcome.sentence}", style="red")
        elif not self._every:
            self._errors.print(
                f"{outcome.identity}: {outcome.sentence} --again publishes it once more.", style="red"
            )

    def complete(self, asked: int) -> bool:
        done = self._verdicts["published"] + (self._verdicts["fixed already"] if self._every else 0)
        return done == asked

    def finish(self, asked: int, *, as_json: bool) -> None:
        if as_json:
            print_json(
                {
                    **{verdict.replace(" ", "_"): count for verdict, count in self._verdicts.items()},
                    "asked": asked,
                    "letters": [
                        {
                            "identity": str(outcome.identity),
                            "verdict": outcome.verdict,
                            "published_as": None if outcome.place is None else str(Identity(*outcome.place)),
                            "sentence": outcome.sentence,
                        }
                        for outcome in self._outcomes
                    ],
                }
            )
            return
        told = ", ".join(f"{count:,} {verdict}" for verdict, count in self._verdicts.items())
        untried = asked - self._verdicts.total()
        if untried:
            told = f"{told}, {untried:,} not tried"
        self._console.print(f"{asked:,} dead letter{'' if asked == 1 else 's'}{f': {told}' if told else ''}.")
        if self._every and asked == RETRIES_MAX:
            self._console.print("There may be more: run it again.")


def _refuse_contradictions(
    chosen: Sequence[Identity],
    wanted: Wanted,
    edit: Path | None,
    set_fields: Sequence[str] | None,
    unset_fields: Sequence[str] | None,
    *,
    every: bool,
) -> None:
    if bool(chosen) == every:
        raise UserError("Say which letters to retry: their names, or --all, and not both.")
    if not every and wanted != Wanted():
        raise UserError("--reason, --app and --since choose among --all; they do not go with names.")
    if edit is not None and (every or len(chosen) != 1):
        raise UserError("--edit gives one event, so that it goes with the name of one letter.")
    if edit is not None and (set_fields or unset_fields):
        raise UserError("--edit gives the whole event; write there what --set and --unset should change.")


def _wanted(reason: str | None, app: str | None, since: str | None) -> Wanted:
    if reason is not None and reason not in REASONS:
        raise UserError(f"--reason: {reason!r} is no reason; there are {', '.join(REASONS)}.")
    return Wanted(reason, app, _since_ms(since))


def _read_event(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(VALUE_BYTES_MAX * 4 + 1)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from None
    if len(text) > VALUE_BYTES_MAX * 4:
        raise UserError(f"{path} is too large to hold one event.")
    return text


def _save(letter: DeadLetter, path: Path) -> None:
    if letter.reason == "phone_number":
        raise UserError(
            "The bytes of a phone number are not written; correct the letter with retry --set or --unset."
        )
    try:
        path.write_bytes(letter.value or b"")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}.") from None


def _since_ms(text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise UserError(f"--since: {error}.") from None


def _row(letter: DeadLetter) -> Row:
    return Row(
        letter.recorded_at_ms,
        identity_of(letter),
        letter.reason,
        _app_of(letter),
        without_phone_numbers(printable(letter.sentence)),
    )


def _app_of(letter: DeadLetter) -> str:
    """Neither key nor subject need be an app: a record may say anything there."""
    return without_phone_numbers(printable(claim_of(letter).appid[:64]))


def _table(rows: Sequence[Row]) -> Table:
    # Names are there to be copied: the letter's in its short form, and what may break is at the end.
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("letter", "recorded (Shanghai)", "reason", "app", "what is wrong"):
        table.add_column(title)
    for row in rows:
        table.add_row(row.identity.short, to_second(row.recorded_at_ms), row.reason, row.app, row.sentence)
    return table


def _described(letter: DeadLetter, fix: Fix | None) -> dict[str, object]:
    key = (
        None
        if letter.key is None
        else without_phone_numbers(shown_bytes(letter, letter.key[:TEXT_SHOWN_MAX]))
    )
    return {
        "identity": str(identity_of(letter)),
        "recorded_at": format_time(letter.recorded_at_ms),
        "reason": letter.reason,
        "app": _app_of(letter),
        "sentence": shown_text(letter, letter.sentence),
        "advice": advice_for(letter),
        "key": key,
        "bytes": None if letter.value is None else len(letter.value),
        "value": None if letter.value is None else shown_bytes(letter, letter.value),
        "fixed": None
        if fix is None
        else {
            "how": fix.how,
            "event": str(Identity(fix.partition, fix.offset)),
            "recorded_at": format_time(fix.recorded_at_ms),
        },
    }


def _show(letter: DeadLetter, fix: Fix | None) -> None:
    console = output()
    told = _described(letter, fix)
    console.print(f"{told['identity']}, recorded {to_second(letter.recorded_at_ms)} (Shanghai)")
    console.print(f"reason: {letter.reason}: {told['sentence']}")
    console.print(f"advice: {told['advice']}")
    console.print("fixed:  not that the log knows" if fix is None else f"fixed:  {fixed_sentence(fix)}")
    console.print(f"key:    {'none' if letter.key is None else told['key']}")
    if letter.value is None:
        console.print("value:  none")
        return
    text = str(told["value"])
    masked = ", digits masked" if letter.reason == "phone_number" else ""
    cut = f", the first {TEXT_SHOWN_MAX:,} characters" if len(text) > TEXT_SHOWN_MAX else ""
    console.print(f"value:  {len(letter.value):,} bytes{cut}{masked}:")
    console.print(text[:TEXT_SHOWN_MAX])
