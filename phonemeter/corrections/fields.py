"""The fields of a correction as people type them: `FIELD=VALUE`, read by the kind of the fact."""

from collections.abc import Sequence
from typing import Any, Final, get_args

import msgspec

from metering.corrected_facts import (
    ASSIGNMENT_FIELDS,
    CALL_FIELDS,
    PURCHASE_FIELDS,
    REFUND_FIELDS,
    REGISTRATION_FIELDS,
)
from metering.events import Capability, ChangedFields, PriceBasis
from metering.printable_text import one_line
from metering.times import SHANGHAI, format_time
from phonemeter.corrections.facts import FactKind
from phonemeter.errors import UserError
from phonemeter.formats import parse_yuan
from phonemeter.history.moments import Moments

FIELDS: Final[dict[FactKind, frozenset[str]]] = {
    "call": CALL_FIELDS,
    "purchase": PURCHASE_FIELDS,
    "assignment": ASSIGNMENT_FIELDS,
    "refund": REFUND_FIELDS,
    "registration": REGISTRATION_FIELDS,
    "correction": frozenset(),
}
"""The fields that can be set of a fact, by its kind."""

MOMENTS: Final = frozenset({"time", "paid_at", "starts_at", "assigned_at"})
NUMBERS: Final = frozenset({"calls", "validity_days", "price_micro_yuan", "used_before"})
WORDS: Final[dict[str, tuple[str, ...]]] = {
    "capability": get_args(Capability),
    "price_basis": get_args(PriceBasis),
    "by": ("owner", "platform"),
}
"""The values of fields that have few."""

MICRO_YUAN_PER_FEN: Final = 10_000
PRICES: Final = ("price_yuan", "price_fen")
"""Other names of the price, in units that people type."""

_moments: Final = Moments(SHANGHAI)


def parse_fields(kind: FactKind, assignments: Sequence[str]) -> ChangedFields:
    """Read assignments such as `calls=10000` or `paid_at=2026-06-01 10:00`, which is Shanghai's time.

    Raises:
        UserError: one is not understood, its field is none of such a fact, or its value is not accepted.
    """
    given: dict[str, Any] = {}
    for text in assignments:
        name, assigned, value = text.partition("=")
        if not assigned:
            raise UserError(
                f"--set {one_line(text)!r} is not understood: give FIELD=VALUE, such as calls=1000."
            )
        field = "price_micro_yuan" if name in PRICES else name
        _check_field(kind, name, field)
        if field in given:
            raise UserError(f"--set gives {field} twice; give each field once.")
        given[field] = _value(name, value)
    try:
        return msgspec.convert(given, ChangedFields)
    except msgspec.ValidationError as error:
        raise UserError(f"--set: {str(error).replace(' - at `$.', ' in `')}.") from None


def _check_field(kind: FactKind, name: str, field: str) -> None:
    if field in FIELDS[kind]:
        return
    if not FIELDS[kind]:
        raise UserError(
            "A correction has no fields to set: make it void, or correct the fact that it is about once more."
        )
    known = sorted(FIELDS[kind] | (set(PRICES) if "price_micro_yuan" in FIELDS[kind] else set()))
    raise UserError(
        f"--set {one_line(name)!r}: a {kind} has no such field that could be set; it has {', '.join(known)}."
    )


def _value(name: str, text: str) -> object:
    if text not in WORDS.get(name, (text,)):
        raise UserError(f"--set {name}: {one_line(text[:40])!r} is not one of {', '.join(WORDS[name])}.")
    try:
        if name in MOMENTS:
            return format_time(_moments.read(text))
        if name == "price_yuan":
            return parse_yuan(text)
        if name == "price_fen":
            return int(text.replace(",", "")) * MICRO_YUAN_PER_FEN
        return int(text.replace(",", "")) if name in NUMBERS else text
    except ValueError as error:
        if name in MOMENTS or name == "price_yuan":
            told = str(error).partition(", or give its form")[0]
            raise UserError(f"--set {name}: {told}.") from None
        raise UserError(f"--set {name}: {one_line(text[:40])!r} is no whole number.") from None
