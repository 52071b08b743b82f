"""What commands print alike: money, times, JSON, and text that may go into a pipe."""

import sys
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metering.money import MICRO_YUAN
from metering.times import SHANGHAI, from_ms
from phonemeter.errors import OperationError

PIPED_COLUMNS: Final = 200
"""A pipe has no width; in rich's own, of 80 columns, tables would lose their ids."""

WHOLE_COLUMNS_MAX: Final = 4_000
"""How wide a table that is printed whole may become."""


def output(*, stderr: bool = False, markup: bool = False, soft_wrap: bool = True) -> Console:
    """Where text goes: as wide as the terminal, or as tables need it where there is none."""
    found = Console(stderr=stderr, highlight=False, markup=markup, soft_wrap=soft_wrap)
    if found.is_terminal:
        return found
    return Console(stderr=stderr, highlight=False, markup=markup, soft_wrap=soft_wrap, width=PIPED_COLUMNS)


def print_whole(console: Console, table: Table) -> None:
    """Print a table uncut: a line that the terminal breaks is better than half a figure or half an id.

    Nothing fills the ends of lines: on a narrow terminal that would look like empty lines.
    """
    needed = console.measure(table, options=console.options.update(width=WHOLE_COLUMNS_MAX)).maximum
    wide = console.options.update(width=max(console.width, needed))
    for line in console.render_lines(table, wide, pad=False):
        told = Text.assemble(*((part.text, part.style or "") for part in line))
        told.rstrip()
        console.print(told, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(f"{msgspec.json.encode(value).decode()}\n")


def yuan(micro_yuan: int) -> str:
    """Money in yuan: exact, with two places at least."""
    whole, rest = divmod(micro_yuan, MICRO_YUAN)
    return f"{whole:,}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"


def to_minute(time_ms: int) -> str:
    """A moment on the clocks of Shanghai, to the minute."""
    return f"{from_ms(time_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def to_second(time_ms: int) -> str:
    """A moment on the clocks of Shanghai, to the second."""
    return f"{from_ms(time_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"


def unknown_app(appid: str) -> OperationError:
    """What is said of an app that the ledger does not know."""
    shown = appid or repr(appid)
    return OperationError(
        f"No line of the ledger is about app {shown}: check the id, or wait for its first event."
    )
