"""`phonemeter dispute APPID --day DATE`: the file that WeChat asks for when its count is disputed."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Annotated, Final, TextIO

import typer
from cryptography.fernet import Fernet

from metering.printable_text import one_line
from metering.times import DAY_MS, SECOND_MS
from phonemeter.cli.days import begin_of
from phonemeter.errors import OperationError, UserError
from phonemeter.settings import load
from phonemeter.terminal import say
from producers.clock import wall_clock_ms
from producers.errors import ProducerError
from producers.openid_keeping import open_store
from producers.openid_store import KEPT_MS, PRIVATE, OpenidStore

HEADER: Final = "timestamp,openid"
STDOUT: Final = "-"


def dispute(
    appid: Annotated[
        str | None, typer.Argument(help="The app, for example wx8ff4154a2448e576.", show_default=False)
    ] = None,
    *,
    day: Annotated[
        str | None,
        typer.Option(
            "--day", help="The Shanghai day, such as 2026-10-17; it must have ended.", metavar="DATE"
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="The file to write, or - for stdout; default APPID-DATE.csv.", metavar="FILE"),
    ] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Only print a new key for PHONEMETER_OPENID_KEYS.")
    ] = False,
) -> None:
    """Write a day's calls of an app as WeChat wants them for a dispute: `timestamp,openid`, in order of time.

    The openids are those that the Python client has kept, encrypted and apart
    from the log, in the file of the setting openid_store. They are kept for 35
    days. The timestamp is in seconds since 1970. The file holds personal data:
    it is for its owner alone, and nothing is overwritten.
    """
    if new_key:
        say(Fernet.generate_key().decode())
        return
    if appid is None or day is None:
        raise UserError("Name the app and the day, as in: phonemeter dispute APPID --day 2026-10-17.")
    begin_ms = begin_of(day)
    _check_day(day, begin_ms)
    file = out or f"{appid}-{day}.csv"
    with _opened() as store, closing(store.kept(appid, begin_ms, begin_ms + DAY_MS)) as taps:
        first = next(taps, None)
        if first is None:
            raise OperationError(
                f"No openid of app {one_line(appid)} was kept on {day}: the client keeps them from when "
                f"openid_store is set, if they are given to it (docs/how-to/agreement.md)."
            )
        with _writable(file) as stream:
            stream.write(f"{HEADER}\n")
            count = 0
            for tap in chain([first], taps):
                stream.write(f"{tap.time_ms // SECOND_MS},{tap.openid}\n")
                count += 1
    where = "stdout" if file == "-" else one_line(file)
    calls = "1 call" if count == 1 else f"{count:,} calls"
    say(f"{calls} of {one_line(appid)} on {day}, written to {where}.", stderr=True)


def _check_day(day: str, begin_ms: int) -> None:
    now_ms = wall_clock_ms()
    if begin_ms + DAY_MS > now_ms:
        raise UserError(f"The day {day} has not ended in Shanghai; WeChat wants a complete one.")
    if begin_ms < now_ms - KEPT_MS:
        raise UserError(f"The day {day} is too long ago: openids are kept for {KEPT_MS // DAY_MS} days.")


@contextmanager
def _opened() -> Iterator[OpenidStore]:
    """The file of openids; its failures are operation errors."""
    try:
        with open_store(load()) as store:
            yield store
    except ProducerError as error:
        raise OperationError(str(error)) from None


@contextmanager
def _writable(file: str) -> Iterator[TextIO]:
    """Stdout, or a new file for its owner alone."""
    if file == STDOUT:
        yield sys.stdout
        return
    try:
        number = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE)
    except FileExistsError:
        raise UserError(f"{file} exists: remove it, or name another file with --out.") from None
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror}.") from None
    with os.fdopen(number, "w", encoding="utf-8") as stream:
        yield stream
