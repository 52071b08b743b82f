"""Texts of events made safe for output: without line ends, terminal control and direction characters."""

from typing import Final

SHOWN_CHARACTERS_MAX: Final = 256
"""The length of the longest text of an event."""


def one_line(text: str) -> str:
    """Escape line ends, control and formatting characters of a text."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable(text: str) -> str:
    """Escape a text as `one_line` does, except for line ends and tabs."""
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def shorten(text: str) -> str:
    """Cut a foreign text to the length of a text of an event."""
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 1]}…"


def _escaped(character: str) -> str:
    # Spaces of all widths are harmless, but only one of them is printable to Python.
    if character.isprintable() or (character.isspace() and character not in _LINE_ENDS):
        return character
    return character.encode("unicode_escape").decode()


_LINE_ENDS: Final = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
