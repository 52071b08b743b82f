"""Fields of forms that change settings of an app: read strictly, each mistake is one sentence."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from dashboards.console.languages import Wording, marked
from dashboards.console.visit import Visit

LONG_CHARACTERS_MAX: Final = 20_000
"""Limit of a field of several lines: a hundred stores with long names fit."""

WRONG_NUMBER: Final = marked("%(field)s: enter a whole number from %(low)s to %(high)s.")
WRONG_NUMBERS: Final = marked(
    "%(field)s: enter at most %(most)s whole numbers from %(low)s to %(high)s, with commas between them."
)
DIGITS_MAX: Final = 10


class NumberField(NamedTuple):
    """A field with a whole number: its title in English, marked for translation, and the limits."""

    title: str
    low: int
    high: int


class FieldMistakeError(Exception):
    """A field can't be used.

    Args:
        text: the sentence, in English and marked for translation.
        values: of the sentence; texts among them are translated, too.
    """

    def __init__(self, text: str, **values: str | int) -> None:
        super().__init__(text)
        self._text = text
        self._values = values

    def told(self, wording: Wording) -> str:
        """The sentence in a language."""
        values = {
            name: wording.number(value) if isinstance(value, int) else wording.text(value)
            for name, value in self._values.items()
        }
        return wording.text(self._text, **values) if values else wording.text(self._text)


def long_value(visit: Visit, name: str) -> str:
    """The first value of a field of several lines."""
    return visit.form.get(name, [""])[0][:LONG_CHARACTERS_MAX].strip()


def number(text: str, field: NumberField) -> int:
    """The whole number in a field.

    Raises:
        FieldMistakeError: there is none, or it is beyond the limits.
    """
    found = _whole(text)
    if found is None or not field.low <= found <= field.high:
        raise FieldMistakeError(WRONG_NUMBER, field=field.title, low=field.low, high=field.high)
    return found


def numbers(text: str, field: NumberField, most: int) -> list[int]:
    """The whole numbers in a field, the highest first and each once; none if it is empty.

    Raises:
        FieldMistakeError: one is none or beyond the limits, or there are too many.
    """
    found = {_whole(part) for part in re.split(r"[\s,，、;；]+", text) if part}
    told = sorted((one for one in found if one is not None and field.low <= one <= field.high), reverse=True)
    if len(told) < len(found) or len(told) > most:
        raise FieldMistakeError(WRONG_NUMBERS, field=field.title, low=field.low, high=field.high, most=most)
    return told


def changes_between(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    """The settings that differ, as they are afterwards: what another member has changed meanwhile stays."""
    return {name: value for name, value in after.items() if before.get(name) != value}


def _whole(text: str) -> int | None:
    told = text.strip().replace(",", "").replace("%", "")
    return int(told) if 0 < len(told) <= DIGITS_MAX and told.isascii() and told.isdecimal() else None
