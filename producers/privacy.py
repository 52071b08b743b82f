"""What must never enter a topic: phone numbers, openids and session secrets (DESIGN section 5)."""

from functools import lru_cache
from typing import Final

import msgspec

from metering.events import PERSON_ADVICE, PLATFORM_NAMES, Rejection, looks_like_phone_number

FORBIDDEN_NAMES: Final = frozenset(
    {"phone", "phonenumber", "purephonenumber", "mobile", "openid", "unionid", "sessionkey", "accesstoken"}
)
"""Names of fields that carry a person or a secret, compared without case, hyphens and underscores."""

NUMBER_NAMES: Final = frozenset({"calls", "errno", "price_micro_yuan", "size", "used", "validity_days"})
"""Numbers of known meaning: 15,000 yuan in micro-yuan has the form of a phone number."""

NESTING_MAX: Final = 8
"""Deeper values than this are refused rather than searched."""


def find_personal_data(value: bytes) -> Rejection | None:
    """Say which field of an event, given as valid JSON, names or holds a person's phone number or openid."""
    found = _search({"": msgspec.json.decode(value)}, "", 0)
    return None if found is None else Rejection("phone_number", found)


def _search(fields: dict[str, object], path: str, depth: int) -> str | None:
    for name, value in fields.items():
        if _is_forbidden_name(name):
            return f"{_joined(path, name)} may not enter; {PERSON_ADVICE}"
        if isinstance(value, str):
            if name not in PLATFORM_NAMES and looks_like_phone_number(value):
                return f"{_joined(path, name)} looks like a phone number; {PERSON_ADVICE}"
        elif type(value) is int:
            if name not in NUMBER_NAMES and looks_like_phone_number(str(value)):
                return f"{_joined(path, name)} looks like a phone number; {PERSON_ADVICE}"
        elif isinstance(value, dict | list):
            found = _search_inside(value, _joined(path, name), depth + 1)
            if found is not None:
                return found
    return None


def _search_inside(value: dict[str, object] | list[object], path: str, depth: int) -> str | None:
    if depth > NESTING_MAX:
        return (
            f"{path} is nested deeper than {NESTING_MAX} levels, where phone numbers could hide; flatten it."
        )
    if isinstance(value, dict):
        return _search(value, path, depth)
    return _search({f"[{index}]": item for index, item in enumerate(value)}, path, depth)


def _joined(path: str, name: str) -> str:
    return f"{path}{name}" if not path or name.startswith("[") else f"{path}.{name}"


@lru_cache(maxsize=1_024)
def _is_forbidden_name(name: str) -> bool:
    return name.replace("_", "").replace("-", "").lower() in FORBIDDEN_NAMES
