"""What may be shown of a dead letter: no phone number, and nothing that a terminal would obey."""

import re
from typing import Final

from metering.dead_letters import DeadLetter

MASK: Final = "*"

_BETWEEN: Final = r"[\s().+-]{0,3}"
_PHONE_NUMBER: Final = re.compile(
    rf"(?<![0-9])(?:(?:0{_BETWEEN}0{_BETWEEN})?8{_BETWEEN}6{_BETWEEN})?"
    rf"1{_BETWEEN}[3-9](?:{_BETWEEN}[0-9]){{9}}(?![0-9])"
)
"""A Chinese mobile number as people write it, wherever it stands in a text."""

_DIGIT: Final = re.compile(r"\d")


def shown_text(letter: DeadLetter, text: str) -> str:
    """A text of a letter, fit to be shown.

    Where the reason is a phone number every digit is masked, so that no way to write one gets through;
    elsewhere what looks like a phone number is.
    """
    if letter.reason == "phone_number":
        return printable(_DIGIT.sub(MASK, text))
    return printable(without_phone_numbers(text))


def shown_bytes(letter: DeadLetter, value: bytes) -> str:
    """The bytes of a letter as text, or, where they are no UTF-8, in hexadecimal, fit to be shown."""
    try:
        return shown_text(letter, value.decode())
    except UnicodeDecodeError:
        # Digits are the same bytes in every encoding that a back end might have used.
        return shown_text(letter, value.decode("latin-1")).encode("latin-1").hex(" ", 2)


def without_phone_numbers(text: str) -> str:
    """A text with the digits of what looks like a phone number masked."""
    return _PHONE_NUMBER.sub(lambda match: _DIGIT.sub(MASK, match[0]), text)


def printable(text: str) -> str:
    """A text with control characters written out, line ends and tabs apart."""
    return "".join(
        character
        if character.isprintable() or character in "\n\t"
        else character.encode("unicode_escape").decode()
        for character in text
    )
