"""The event of a line: its type, fields and id."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isnan
from re import compile as pattern
from typing import Any, Final, Literal, NamedTuple

import msgspec

from metering.batch_ids import COUNT_ATTRIBUTE
from metering.events import AnyEvent, Authorization, Opened, Purchased, Refunded, Registered
from metering.money import MICRO_YUAN
from metering.personal_identifiers import mask_identifiers
from metering.rejections import Rejection
from metering.times import format_time, to_ms
from phonemeter.formats import parse_yuan
from phonemeter.history.fields import FIELDS_BY_TYPE, TYPES
from phonemeter.history.mapping import ColumnMapping
from phonemeter.history.moments import Moments
from producers.codes import refusal_of_code
from producers.event_check import check
from producers.events import ERRNO_DENIED, cloud_event, event_id, named_id, to_json

SOURCE: Final = "/import"
NUMBERS: Final = frozenset(
    {"calls", "errno", "trial_used", "used_before", "validity_days", "price_micro_yuan"}
)
MOMENTS: Final = frozenset({"assigned_at", "paid_at", "starts_at"})
WHOLE_MAX: Final = 10**18
"""Limit of numbers with an exponent, which may stand for a billion digits."""

FLOAT_WHOLE_MAX: Final = 2**53
"""Limit of floating-point numbers: those above stand for several whole ones."""

NAMES: Final = frozenset({"client", "code", "id", "order_id", "pack_id", "store"})
SHORTENED: Final = pattern(r"\d(?:[.,]\d+)?[Ee]\+\d{2,3}")
"""A long number as a spreadsheet writes it to a CSV file: without most of its digits."""

MICRO_YUAN_PER_FEN: Final = MICRO_YUAN // 100

IdOrigin = Literal["given", "code", "name", "content"]
"""The origin of an id: given, or made of the code, of the name of what it is about, or of the content."""

IMPORTED: Final = (Authorization, Opened, Purchased, Refunded, Registered)


class Fact(NamedTuple):
    """An event of a line.

    Attributes:
        kind: its type.
        value: its bytes.
    """

    appid: str
    event_id: str
    kind: str
    time_ms: int
    value: bytes
    id_origin: IdOrigin


class FactReader:
    """The reading of one file's lines.

    Args:
        now_ms: when the events reach the log.
        number_equal: returns the number of a content among the equal ones of the file.
    """

    def __init__(
        self, mapping: ColumnMapping, moments: Moments, now_ms: int, number_equal: Callable[[str], int]
    ) -> None:
        self._mapping = mapping
        self._moments = moments
        self._now_ms = now_ms
        self._number_equal = number_equal

    def read(self, content: dict[str, object] | bytes) -> Fact | Rejection:
        """The fact of a line, or the reason why it is none."""
        if isinstance(content, bytes):
            return self._given_event(content)
        try:
            return self._fact(self._kind(content), {**self._mapping.constants, **content})
        except _FieldError as error:
            # It may repeat a value, and nobody knows which column was named.
            return Rejection("invalid_field", mask_identifiers(str(error)))

    def _given_event(self, value: bytes) -> Fact | Rejection:
        event = check(value, now_ms=self._now_ms)
        if isinstance(event, Rejection):
            return event
        if not isinstance(event, IMPORTED):
            return Rejection("unknown_type", f"{_type_of(event)} is no fact that can be imported; emit it.")
        found: dict[str, Any] = msgspec.json.decode(value)
        # The mark of an earlier retry is decided anew.
        if found.pop(COUNT_ATTRIBUTE, None) is not None:
            value = to_json(found)
        return Fact(event.subject, event.id, _type_of(event), to_ms(event.time), value, "given")

    def _fact(self, kind: str, fields: Mapping[str, object]) -> Fact | Rejection:
        appid = _text("appid", fields.get("appid"))
        if not appid:
            raise _FieldError(
                "appid: missing; name its column (--column appid=COLUMN) or give it (--set appid=APPID)."
            )
        data = {
            name: value for name in FIELDS_BY_TYPE[kind] if (value := self._value(name, fields)) is not None
        }
        time = self._time(kind, fields, data)
        if kind == TYPES["denied"]:
            data.setdefault("errno", ERRNO_DENIED)
        identifier, origin = self._identifier(kind, appid, time, fields, data)
        if isinstance(identifier, Rejection):
            return identifier
        source = _text("source", fields.get("source")) or SOURCE
        text = to_json(cloud_event(kind, identifier, appid, time, source=source, data=data))
        event = check(text, now_ms=self._now_ms)
        if isinstance(event, Rejection):
            return event
        return Fact(appid, identifier, kind, to_ms(event.time), text, origin)

    def _kind(self, content: Mapping[str, object]) -> str:
        """The type of a line: it says so itself, or by what it has, or what was set holds."""
        if "type" in content:
            return self._word("type", content["type"])
        if "trial_used" in content:
            return TYPES["opened"]
        if "entity_type" in content:
            return TYPES["registered"]
        if "pack_id" in content and ("validity_days" in content or "calls" in content):
            return TYPES["assigned" if "assigned_at" in content else "purchased"]
        if "type" in self._mapping.constants:
            return self._word("type", self._mapping.constants["type"])
        if "errno" in content:
            errno = _integer("errno", content["errno"])
            return TYPES["denied" if errno == ERRNO_DENIED else "failed" if errno else "succeeded"]
        raise _FieldError(
            "type: missing; say what the lines are, such as --set type=succeeded, or name the column that "
            f"says it (--column type=COLUMN). Types are: {', '.join(TYPES)}."
        )

    def _time(self, kind: str, fields: Mapping[str, object], data: dict[str, Any]) -> str:
        name = next((each for each in ("time", "assigned_at", "paid_at") if each in fields), None)
        if name is None:
            raise _FieldError("time: missing; name its column (--column time=COLUMN).")
        time = self._moment(name, fields[name])
        if kind == TYPES["assigned"]:
            data.setdefault("assigned_at", time)
        if kind in {TYPES["purchased"], TYPES["assigned"]}:
            data.setdefault("paid_at", time)
        return time

    def _identifier(
        self, kind: str, appid: str, time: str, fields: Mapping[str, object], data: Mapping[str, Any]
    ) -> tuple[str | Rejection, IdOrigin]:
        given = _text("id", fields.get("id"))
        if given:
            return given, "given"
        named = _named(kind, time, data)
        if named is not None:
            return named_id(kind, appid, *named), "name"
        if "code" in fields:
            code = _text("code", fields["code"])
            return refusal_of_code(code) or event_id(appid, code), "code"
        content = "\n".join((kind, appid, time, *(f"{name}={data[name]}" for name in sorted(data))))
        return named_id("import", content, str(self._number_equal(content))), "content"

    def _value(self, name: str, fields: Mapping[str, object]) -> str | int | None:
        if name == "price_micro_yuan":
            return _price(fields)
        value = fields.get(name)
        if value is None:
            return None
        if name in NUMBERS:
            return _integer(name, value)
        if name in MOMENTS:
            return self._moment(name, value)
        return self._word(name, value) or None

    def _word(self, name: str, value: object) -> str:
        text = _text(name, value)
        words = self._mapping.words.get(name)
        if words is None:
            return text
        known = words.get(text) or words.get(text.casefold())
        if known is None and name == "type":
            raise _FieldError(
                f"type: {text[:40]!r} is not known; say what it means in the table [values.type] of a "
                f"mapping file, or leave its column out (--column type=). Types are: {', '.join(TYPES)}."
            )
        return text if known is None else known

    def _moment(self, name: str, value: object) -> str:
        try:
            return format_time(self._moments.read(value))
        except (ValueError, OverflowError) as error:
            raise _FieldError(f"{name}: {error}.") from None


def _named(kind: str, time: str, data: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of what a fact is about, of which the producers make its id too; None for a call."""
    pack_id, capability = str(data.get("pack_id", "")), str(data.get("capability", ""))
    by = (str(data["by"]),) if data.get("by", "owner") != "owner" else ()
    return {
        TYPES["purchased"]: (pack_id,),
        TYPES["assigned"]: (pack_id, str(data.get("assigned_at", ""))),
        TYPES["refunded"]: (pack_id, time, *by),
        TYPES["assignment_cancelled"]: (pack_id, time, *by),
        TYPES["registered"]: (time,),
        TYPES["opened"]: (capability, str(data.get("trial_used", "")), time),
    }.get(kind)


class _FieldError(Exception):
    """A field of a line has no value that it may have; the message is a sentence."""


def _type_of(event: AnyEvent) -> str:
    return str(event.__struct_config__.tag)


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        text = value.strip()
        if name in NAMES and SHORTENED.fullmatch(text):
            # Different ones look the same afterwards, and two packs would count as one.
            raise _FieldError(
                f"{name}: {text!r} is a number that a spreadsheet has shortened; write the file again with "
                "that column as text."
            )
        return text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    whole = _whole(value) if isinstance(value, float | Decimal) else None
    if whole is None:
        raise _FieldError(f"{name}: {type(value).__name__} is neither text nor a whole number.")
    return whole


def _whole(value: float | Decimal) -> str | None:
    """The text of a whole number, empty for what is no number; None for a number that is not whole."""
    if isnan(value):
        return ""
    limit = FLOAT_WHOLE_MAX if isinstance(value, float) else WHOLE_MAX
    return str(int(value)) if abs(float(value)) < limit and value == int(value) else None


def _integer(name: str, value: object) -> int:
    text = _text(name, value).replace(",", "")
    try:
        return int(text)
    except ValueError:
        raise _FieldError(f"{name}: {text[:40]!r} is no whole number.") from None


def _price(fields: Mapping[str, object]) -> int | None:
    if "price_micro_yuan" in fields:
        return _integer("price_micro_yuan", fields["price_micro_yuan"])
    if "price_fen" in fields:
        return _integer("price_fen", fields["price_fen"]) * MICRO_YUAN_PER_FEN
    value = fields.get("price_yuan")
    if value is None:
        return None
    if isinstance(value, float):
        raise _FieldError(
            "price_yuan: a floating-point number is not exact; write it as text, or as price_fen."
        )
    try:
        return parse_yuan(str(value))
    except ValueError as error:
        raise _FieldError(f"price_yuan: {error}.") from None
