"""The search for phone numbers, openids and session secrets, which must not enter a topic."""

from typing import Final

import msgspec

from metering.forbidden_fields import is_forbidden_field
from metering.personal_identifiers import IDENTIFIER_ADVICE, find_identifier, identifier_problem
from metering.rejections import Rejection

NUMBER_NAMES: Final = frozenset({"calls", "errno", "price_micro_yuan", "size", "used", "validity_days"})
"""Numbers of known meaning: 15,000 yuan in micro-yuan has the form of a phone number."""

NESTING_MAX: Final = 8
"""Deeper values than this are refused rather than searched."""


def find_personal_data(value: bytes) -> Rejection | None:
    """Return the rejection of an event, given as valid JSON, that names or holds a phone number or openid."""
    found = _search({"": msgspec.json.decode(value)}, "", 0)
    return None if found is None else Rejection("phone_number", found)


def _search(fields: dict[str, object], path: str, depth: int) -> str | None:
    for name, value in fields.items():
        found = _named(name, path) or _held(name, _joined(path, name), value, depth)
        if found is not None:
            return found
    return None


def _named(name: str, path: str) -> str | None:
    """Describe a field name that is forbidden or is personal data itself, which is not repeated."""
    if is_forbidden_field(name):
        return f"{_joined(path, name)} may not enter; {IDENTIFIER_ADVICE}."
    person = find_identifier(name)
    return (
        None
        if person is None
        else f"A name in {path or 'the event'} holds what looks like {person}; {IDENTIFIER_ADVICE}."
    )


def _held(name: str, path: str, value: object, depth: int) -> str | None:
    if isinstance(value, str):
        return identifier_problem(path, value)
    if isinstance(value, dict | list):
        return _search_inside(value, path, depth + 1)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and name not in NUMBER_NAMES:
        return identifier_problem(path, str(value))
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
