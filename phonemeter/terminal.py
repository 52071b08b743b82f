"""The output of every command, safe for terminals whatever the text.

Names of packs, apps and stores are any text that a back end sent. So text is never markup, invisible
characters are escaped, and a single line stays one line (`metering.printable_text`).
"""

import json
import sys
from typing import Any, Final

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from metering.iso_moments import with_iso_moments
from metering.printable_text import one_line, printable

PIPED_COLUMNS: Final = 200
"""Width of output to a pipe; rich's own 80 columns would break ids in tables."""


class Terminal(Console):
    """A console without markup. A string is printed as one line; a `Text` may have several."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of rich's console
        super().__init__(**options, highlight=False, markup=False, emoji=False)

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - whatever rich prints
        """Print as rich does; each string as one line."""
        super().print(*(one_line(one) if isinstance(one, str) else one for one in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - those of rich
        """Turn a string of a table or group into text; rich calls this for all of them."""
        return super().render_str(printable(text), **options)


class Table(RichTable):
    """A table in which a string is one line of a cell. `plain_rows` has the cells as plain text.

    Text that does not fit is wrapped, never cut.
    """

    def __init__(self, *titles: str, **options: Any) -> None:  # noqa: ANN401 - those of rich
        super().__init__(**options)
        self.plain_rows: list[list[str]] = []
        for title in titles:
            self.add_column(title)

    def add_column(self, header: RenderableType = "", *rest: Any, **options: Any) -> None:  # noqa: ANN401
        """Add a column as rich does."""
        super().add_column(header, *rest, **{"overflow": "fold", **options})

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:  # noqa: ANN401 - those of rich
        """Add a row as rich does."""
        shown = [one_line(cell) if isinstance(cell, str) else cell for cell in cells]
        super().add_row(*shown, **options)
        self.plain_rows.append([cell.plain if isinstance(cell, Text) else str(cell or "") for cell in shown])


def output(*, stderr: bool = False) -> Terminal:
    """A console that wraps lines at the width of the terminal, and not at all in a pipe."""
    found = Terminal(stderr=stderr)
    return found if found.is_terminal else Terminal(stderr=stderr, soft_wrap=True, width=PIPED_COLUMNS)


def say(text: str, *, stderr: bool = False) -> None:
    """Print plain text, which may have several lines."""
    console = output(stderr=stderr)
    for line in printable(text).split("\n"):
        console.print(Text(line))


def print_json(value: object, *, indent: int = 0, stderr: bool = False) -> None:
    """Print a value as JSON, as one line unless it is indented; moments in ISO 8601 (UTC)."""
    encoded = msgspec.json.encode(with_iso_moments(msgspec.to_builtins(value)))
    text = (msgspec.json.format(encoded, indent=indent) if indent else encoded).decode()
    stream = sys.stderr if stderr else sys.stdout
    stream.write(f"{_escaped(text)}\n")
    stream.flush()


def _escaped(json_text: str) -> str:
    """The JSON with invisible characters escaped; JSON itself requires that only up to U+001F."""
    if json_text.isprintable():
        return json_text
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in json_text)
