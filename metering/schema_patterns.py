"""Patterns of the schema of events: what validators of every language read, without looking around.

Each refuses a part of what the code refuses, and nothing else. `$` is the end of the text; a validator for
which it is also the place before a last line feed accepts that too.
"""

from collections.abc import Iterator
from typing import Any, Final

from metering.events import APPID_PATTERN
from metering.exemption import OWNER_TYPES
from metering.forbidden_fields import FORBIDDEN_PARTS, FORBIDDEN_WORDS
from metering.personal_identifiers import (
    IDENTIFIER_ADVICE,
    OPENID_CHARACTERS,
    PHONE_NUMBER_DIGITS,
    STORE_ADVICE,
    STORE_CODE_PREFIX,
)

CLIENT: Final = r"^[0-9A-Za-z_.:=+/-]*$"

_DAY: Final = r"-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_MOMENT: Final = (
    r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])$"
)
TIME: Final = f"^[0-9]{{4}}{_DAY}{_MOMENT}"
TIME_IN_RANGE: Final = f"^(2016-12-31|20(1[7-9]|[2-4][0-9]){_DAY}|2050-01-01){_MOMENT}"
"""From 2017 to 2050 in UTC, and so a day more in other zones."""

_BETWEEN: Final = r"[ -/:-@\[-`{-~\u4e00-\u9fff]"
"""A character beside a number: of ASCII but no letter and no digit, or Chinese."""

PHONE_NUMBER: Final = (
    rf"(^|{_BETWEEN})((00)?86|0)?1[3-9][0-9]{{{PHONE_NUMBER_DIGITS - 2}}}($|{_BETWEEN})"
    rf"|(^|{_BETWEEN})\+[1-9][0-9]{{8,14}}($|{_BETWEEN})"
)
_WORD: Final = "[0-9A-Za-z_-]"
OPENID: Final = (
    f"^o{_WORD}{{{OPENID_CHARACTERS - 1},{OPENID_CHARACTERS}}}$",
    f"^o{_WORD}*[A-Z]",
    f"^o{_WORD}*[a-z]",
)
"""Patterns that an openid has all of."""

_SEPARATORS: Final = "[ _.0-9-]*"
_SPACES: Final = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""The characters that Python strips from both ends of a text."""


def portable(pattern: str) -> str:
    """A pattern of Python's in the words of every language."""
    return pattern.replace(r"\Z", "$").replace("(?:", "(").replace("(?s:.", r"([\s\S]")


APPID: Final = portable(APPID_PATTERN)


def definitions(prefix: str) -> dict[str, dict[str, Any]]:
    """The definitions of texts, times and names; references begin with `prefix`."""
    openid = {"allOf": [{"type": "string"}, *({"pattern": pattern} for pattern in OPENID)]}
    number = {"type": "string", "pattern": PHONE_NUMBER}
    return {
        "time": {
            "description": "A time of RFC 3339 with a zone, on a day that exists.",
            "type": "string",
            "format": "date-time",
            "pattern": TIME,
        },
        "time_in_range": {
            "description": "A time of RFC 3339 with a zone, on a day that exists, from 2017 to 2050 in UTC.",
            "type": "string",
            "format": "date-time",
            "pattern": TIME_IN_RANGE,
        },
        "no_person": {
            "description": f"No phone number and no openid, however it is written; {IDENTIFIER_ADVICE}.",
            "not": {"anyOf": [number, openid]},
        },
        "store": {
            "description": f"No phone number and no openid; {IDENTIFIER_ADVICE}{STORE_ADVICE}.",
            "anyOf": [
                {"$ref": f"{prefix}no_person"},
                {"pattern": f"^{STORE_CODE_PREFIX}[0-9]{{{PHONE_NUMBER_DIGITS}}}$"},
            ],
        },
        "platform_name": {
            "description": "A name that WeChat gave: eleven digits are no phone number in one word.",
            "not": openid,
            "anyOf": [{"$ref": f"{prefix}no_person"}, {"pattern": f"^{_WORD}*$"}],
        },
        "no_forbidden_names": {
            "description": "No field at any depth has a name for a phone number, an openid or a session.",
            "propertyNames": {"not": {"pattern": forbidden_names()}},
            "additionalProperties": {"$ref": f"{prefix}no_forbidden_names"},
            "items": {"$ref": f"{prefix}no_forbidden_names"},
        },
    }


def owner_types() -> str:
    """Every owner type that is accepted, in any case, with outer spaces, and any of its signs for `_`."""
    words = (word for kind, others in OWNER_TYPES.items() for word in (kind, *others))
    return f"^[{_SPACES}]*({'|'.join(map(_in_any_case, words))})[{_SPACES}]*$"


def forbidden_names() -> str:
    """The names that no field may have."""
    return "|".join(_forbidden())


def _forbidden() -> Iterator[str]:
    for part in FORBIDDEN_PARTS:
        yield _spread(part)
    for word in sorted(FORBIDDEN_WORDS):
        yield f"^{_SEPARATORS}{_spread(word)}{_SEPARATORS}$"
        yield f"(^|[ _.0-9-]){word}{_SEPARATORS}$"
        yield f"{word.capitalize()}{_SEPARATORS}$"
        yield f"(^|[^A-Z]){word.upper()}{_SEPARATORS}$"


def _spread(word: str) -> str:
    """A word in any case, with separators between its letters."""
    return _SEPARATORS.join(map(_in_any_case, word))


def _in_any_case(word: str) -> str:
    return "".join(map(_letter, word))


def _letter(letter: str) -> str:
    if letter == "_":
        return r"[_ \-－]"
    return f"[{letter.upper()}{letter}]" if letter.isascii() and letter.isalpha() else letter
