"""Dead letters masked for display: no phone number, no openid, no terminal control characters."""

import re
from typing import Final

import msgspec

from metering.dead_letters import DeadLetter
from metering.personal_identifiers import mask_digits, mask_identifiers
from metering.printable_text import printable

MASK: Final = "*"

_ESCAPED: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")


def masked_text(letter: DeadLetter, text: str) -> str:
    """A text of a letter, masked for display.

    If the reason is a phone number, every digit is masked, whatever the notation.
    """
    masked = without_phone_numbers(text)
    return printable(mask_digits(masked, MASK) if letter.reason == "phone_number" else masked)


def masked_bytes(letter: DeadLetter, value: bytes) -> str:
    """The bytes of a letter, masked for display: as text, or in hexadecimal if they are not UTF-8."""
    try:
        return masked_text(letter, _ESCAPED.sub(_unescaped, value.decode()))
    except UnicodeDecodeError:
        # Digits are the same bytes in every encoding that a back end is likely to use.
        return masked_text(letter, value.decode("latin-1")).encode("latin-1").hex(" ", 2)


def without_phone_numbers(text: str) -> str:
    """A text with everything masked that looks like a phone number or an openid."""
    return mask_identifiers(text, MASK)


def _unescaped(escaped: re.Match[str]) -> str:
    """The characters of JSON escapes; the escapes' own digits would hide a phone number next to them."""
    try:
        text = msgspec.json.decode(f'"{escaped[0]}"', type=str)
    except msgspec.DecodeError:
        return escaped[0]
    return "".join(one if one >= " " and one not in '"\\' else f"\\u{ord(one):04x}" for one in text)
