"""Tables for wide and narrow terminals and for pipes."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from phonemeter.terminal import Table

WHOLE_COLUMNS_MAX: Final = 4_000
"""Largest width of a table in a pipe."""

INDENT: Final = "  "
SEPARATOR: Final = " · "


def print_table(console: Console, table: Table) -> None:
    """Print a table; in a terminal that is too narrow for it, print each row as a few lines.

    An id that is broken over lines of a cell could not be copied.
    """
    needed = console.measure(table, options=console.options.update(width=WHOLE_COLUMNS_MAX)).maximum
    if console.is_terminal and needed > console.width:
        for row in _rows(console, table):
            console.print(row, soft_wrap=True)
        return
    wide = console.options.update(width=max(console.width, needed))
    for line in console.render_lines(table, wide, pad=False):
        told = Text.assemble(*((part.text, part.style or "") for part in line))
        # On a narrow terminal trailing spaces would wrap into empty lines.
        told.rstrip()
        console.print(told, soft_wrap=True)


def _rows(console: Console, table: Table) -> Iterator[Text]:
    """The rows of a table: the first column, and the other columns with their titles below."""
    if table.title:
        yield Text(str(table.title), "bold")
    titles = [re.sub(r"-?\n", "", str(column.header)).strip() for column in table.columns]
    for head, *cells in table.plain_rows:
        yield from _wrapped(console, f"{titles[0]} {head}".strip(), "")
        parts = [
            f"{title} {line}".strip()
            for title, cell in zip(titles[1:], cells, strict=True)
            for line in cell.splitlines()
        ]
        for line in _flowed(parts, console.width - len(INDENT)):
            yield from _wrapped(console, line, INDENT)


def _flowed(parts: Sequence[str], width: int) -> Iterator[str]:
    """The parts joined into lines that fit."""
    line = ""
    for part in parts:
        longer = f"{line}{SEPARATOR}{part}" if line else part
        if line and cell_len(longer) > width:
            yield line
            line = part
        else:
            line = longer
    if line:
        yield line


def _wrapped(console: Console, line: str, indent: str) -> Iterator[Text]:
    """A line wrapped between words."""
    for part in Text(line).wrap(console, console.width - len(indent)):
        part.rstrip()
        yield Text(indent).append_text(part)
