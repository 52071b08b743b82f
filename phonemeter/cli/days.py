"""Shanghai days on the command line."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from metering.times import SHANGHAI_OFFSET_MS, to_ms
from phonemeter.errors import UserError

Day = Annotated[
    str | None, typer.Option("--day", help="Only this Shanghai day, such as 2026-10-17.", metavar="DATE")
]


def begin_of(day: str) -> int:
    """The first millisecond of a Shanghai day that is written as 2026-10-17.

    Raises:
        UserError: it is no such day.
    """
    try:
        moment = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(f"--day {day!r} is not a day; write it as in --day 2026-10-17.") from None
    return to_ms(moment) - SHANGHAI_OFFSET_MS
