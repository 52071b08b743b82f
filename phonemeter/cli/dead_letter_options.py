"""Options of `phonemeter dead-letters` that several of its commands share, or that belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from metering.events import VALUE_BYTES_MAX
from metering.rejections import RejectionReason
from metering.times import parse_time
from phonemeter.dead_letters.letter_log import LetterFilter
from phonemeter.dead_letters.retries import LetterCorrection, parse_assignment, parse_path
from phonemeter.errors import UserError

REASONS: Final = get_args(RejectionReason)
EVENT_FILE_BYTES_MAX: Final = VALUE_BYTES_MAX * 4


@dataclass(frozen=True)
class LetterOptions:
    """A selection of letters."""

    reason: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Only dead letters with this reason, such as not_json."),
    ] = None
    app: Annotated[
        str | None,
        typer.Option(
            "--app", "--key", metavar="APPID", help="Only dead letters of this app, or with this key."
        ),
    ] = None
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only records since this time, such as 2026-10-17T10:05:03+08:00."),
    ] = None

    def filter(self) -> LetterFilter:
        """The filter that the options give.

        Raises:
            UserError: there is no such reason, or the time is none.
        """
        if self.reason is not None and self.reason not in REASONS:
            raise UserError(
                f"--reason: {self.reason!r} is not a reason; the reasons are {', '.join(REASONS)}."
            )
        try:
            since_ms = None if self.since is None else parse_time(self.since)
        except ValueError as error:
            raise UserError(f"--since: {error}.") from None
        return LetterFilter(self.reason, self.app, since_ms)


@dataclass(frozen=True)
class CorrectionOptions:
    """A correction of letters."""

    edit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Publish the event in this file instead."),
    ] = None
    set_fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Set a field, such as data.calls=250.", show_default=False
        ),
    ] = None
    unset_fields: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="PATH", help="Remove a field.", show_default=False),
    ] = None

    def read(self) -> LetterCorrection:
        """The correction that the options give, with the event of the file.

        Raises:
            UserError: the file cannot be read, or an assignment or a path is none.
        """
        return LetterCorrection(
            None if self.edit is None else _read_event(self.edit),
            tuple(parse_assignment(text) for text in self.set_fields or []),
            tuple(parse_path(text) for text in self.unset_fields or []),
        )


def _read_event(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(EVENT_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from None
    if len(text) > EVENT_FILE_BYTES_MAX:
        raise UserError(f"{path} is too large to hold one event.")
    return text
