"""Output about dead letters: a list, one letter in detail, and the outcomes of retries."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.text import Text

from metering.dead_letters import DeadLetter, OriginalSizes
from metering.printable_text import printable
from metering.times import format_time, shanghai_time
from phonemeter.claimed_event import claimed_event
from phonemeter.dead_letters.advice import advice_for
from phonemeter.dead_letters.fixes import Fix
from phonemeter.dead_letters.letter_log import LetterId, letter_id
from phonemeter.dead_letters.mask import masked_bytes, masked_text, without_phone_numbers
from phonemeter.dead_letters.retries import RetryOutcome, fix_sentence
from phonemeter.formats import to_second
from phonemeter.terminal import Table, output, print_json

TEXT_SHOWN_MAX: Final = 4_096


class LetterRow(NamedTuple):
    """A letter in the list, masked for display."""

    recorded_at_ms: int
    identity: LetterId
    reason: str
    app: str
    sentence: str


def letter_row(letter: DeadLetter) -> LetterRow:
    """The row of a letter."""
    return LetterRow(
        letter.recorded_at_ms,
        letter_id(letter),
        letter.reason,
        _app_of(letter),
        without_phone_numbers(printable(letter.sentence)),
    )


def _app_of(letter: DeadLetter) -> str:
    """The app that a letter claims; key and subject may be any text, so it is masked."""
    return without_phone_numbers(printable(claimed_event(letter).appid[:64]))


def letters_table(rows: Sequence[LetterRow]) -> Table:
    """The list of letters."""
    # Ids are there to be copied: the short form comes first, and text that may wrap at the end.
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("dead letter", "recorded (Shanghai)", "reason", "app", "what is wrong"):
        table.add_column(title)
    for row in rows:
        table.add_row(row.identity.short, to_second(row.recorded_at_ms), row.reason, row.app, row.sentence)
    return table


def describe(letter: DeadLetter, fix: Fix | None) -> dict[str, object]:
    """A letter for JSON, masked for display."""
    key = (
        None
        if letter.key is None
        else without_phone_numbers(masked_bytes(letter, letter.key[:TEXT_SHOWN_MAX]))
    )
    return {
        "identity": str(letter_id(letter)),
        "recorded_at": format_time(letter.recorded_at_ms),
        "reason": letter.reason,
        "app": _app_of(letter),
        "sentence": masked_text(letter, letter.sentence),
        "advice": advice_for(letter),
        "key": key,
        "bytes": None if letter.value is None else _size(letter),
        "kept_bytes": len(letter.value or b""),
        "sha256": None if letter.value is None else _sha256(letter),
        "headers": [
            [without_phone_numbers(printable(name)), _header_text(letter, value)]
            for name, value in letter.headers
        ],
        "value": None if letter.value is None else masked_bytes(letter, letter.value),
        "fixed": None
        if fix is None
        else {
            "how": fix.how,
            "event": str(LetterId(fix.partition, fix.offset)),
            "recorded_at": format_time(fix.recorded_at_ms),
        },
    }


def show_letter(letter: DeadLetter, fix: Fix | None) -> None:
    """Print one letter: reason, bytes and fix."""
    console = output()
    described = describe(letter, fix)
    console.print(f"{described['identity']}, recorded {shanghai_time(letter.recorded_at_ms)}")
    console.print(f"reason: {letter.reason}: {described['sentence']}")
    console.print(f"advice: {described['advice']}")
    console.print("fixed:  no" if fix is None else f"fixed:  {fix_sentence(fix)}")
    console.print(f"key:    {'none' if letter.key is None else described['key']}")
    for name, value in letter.headers:
        shown = _header_text(letter, value)
        console.print(f"header: {without_phone_numbers(printable(name))}: {shown or 'no value'}")
    if letter.value is None:
        console.print("value:  none")
        return
    text = str(described["value"])
    masked = ", digits masked" if letter.reason == "phone_number" else ""
    cut = f", the first {TEXT_SHOWN_MAX:,} characters" if len(text) > TEXT_SHOWN_MAX else ""
    if letter.original is not None:
        console.print(
            f"The dead letter keeps {len(letter.value):,} of {_size(letter):,} bytes "
            f"(SHA-256 {_sha256(letter)}); "
            f"retry takes all of them from {described['identity']}."
        )
    console.print(f"value:  {_size(letter):,} bytes{cut}{masked}:")
    console.print(Text(text[:TEXT_SHOWN_MAX]))


def _size(letter: DeadLetter) -> int:
    return len(letter.value or b"") if letter.original is None else letter.original.value_bytes


def _sha256(letter: DeadLetter) -> str:
    original = letter.original or OriginalSizes.of(letter.key, letter.value, letter.headers)
    return original.value_sha256


def _header_text(letter: DeadLetter, value: bytes | None) -> str | None:
    return None if value is None else without_phone_numbers(masked_bytes(letter, value[:TEXT_SHOWN_MAX]))


class RetryOutput:
    """The output of retries, printed as outcomes arrive.

    Args:
        every: all letters are retried, at most `most` per run.
        quiet: nothing is printed before the end.
        most: the limit of a run.
    """

    def __init__(self, *, every: bool, quiet: bool, most: int) -> None:
        self._every = every
        self._most = most
        self._quiet = quiet
        self._console = output()
        self._errors = output(stderr=True)
        self._outcomes: list[RetryOutcome] = []
        self._verdicts: Counter[str] = Counter()

    def keep(self, outcome: RetryOutcome) -> None:
        """Print and count one outcome."""
        self._verdicts[outcome.verdict] += 1
        if self._quiet:
            self._outcomes.append(outcome)
        elif outcome.place is not None:
            self._console.print(f"{outcome.identity}: published as {LetterId(*outcome.place)}")
        elif outcome.verdict != "fixed already":
            self._errors.print(f"{outcome.identity}: {outcome.verdict}: {outcome.sentence}", style="red")
        elif not self._every:
            self._errors.print(
                f"{outcome.identity}: {outcome.sentence} --again publishes it once more.", style="red"
            )

    def complete(self, asked: int) -> bool:
        """Return whether all of `asked` letters are done."""
        done = self._verdicts["published"] + (self._verdicts["fixed already"] if self._every else 0)
        return done == asked

    def finish(self, asked: int, *, as_json: bool) -> None:
        """Print the summary."""
        if as_json:
            print_json(
                {
                    **{verdict.replace(" ", "_"): count for verdict, count in self._verdicts.items()},
                    "asked": asked,
                    "letters": [
                        {
                            "identity": str(outcome.identity),
                            "verdict": outcome.verdict,
                            "published_as": None if outcome.place is None else str(LetterId(*outcome.place)),
                            "sentence": outcome.sentence,
                        }
                        for outcome in self._outcomes
                    ],
                }
            )
            return
        described = ", ".join(f"{count:,} {verdict}" for verdict, count in self._verdicts.items())
        untried = asked - self._verdicts.total()
        if untried:
            described = f"{described}, {untried:,} not tried"
        self._console.print(
            f"{asked:,} dead letter{'' if asked == 1 else 's'}{f': {described}' if described else ''}."
        )
        if self._every and asked == self._most:
            self._console.print("There may be more: run it again.")
