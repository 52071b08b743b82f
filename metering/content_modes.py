"""Content modes of CloudEvents over Kafka: structured or binary, with data as JSON or in base64.

Every form is converted into one JSON object in UTF-8 with unique keys. A null is an absent field (rule 15).
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from metering.duplicate_keys import duplicate_key

Header = tuple[str, bytes | None]
Headers = Sequence[Header]

UNREADABLE_NAME: Final = "\N{REPLACEMENT CHARACTER}"
UNREADABLE_HEADERS: Final[Headers] = ((UNREADABLE_NAME, None),)
"""The headers of a record if some name is not UTF-8 text: not every client can decode the others then."""

STRUCTURED: Final = "application/cloudevents"
SHOWN_MAX: Final = 100

_PREFIX: Final = "ce_"
_DECLARED: Final = f"{_PREFIX}specversion"
_NOT_ATTRIBUTES: Final = ("data", "data_base64")
_READ: Final = frozenset({STRUCTURED, f"{STRUCTURED}+json"})


FormatRejectionReason = Literal["not_utf8", "not_json", "invalid_field", "doubled_key"]


class EventFormatError(ValueError):
    """The record is in no form of an event: a `reason` in one word, and a sentence."""

    def __init__(self, reason: FormatRejectionReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def value_is_event(headers: Headers) -> bool:
    """Return whether the value is the event; `structured_event` gives the reason if it is not.

    A content type of CloudEvents means structured mode, whatever other headers there are. Otherwise the
    header of the version means binary mode. Without either, the value is taken for a structured event.
    """
    content_type = _content_type(headers)
    if content_type.startswith(STRUCTURED):
        return _media_type(content_type) in _READ and _are_readable(headers)
    return all(name not in {_DECLARED, UNREADABLE_NAME} for name, _ in headers)


def structured_event(value: bytes | None, headers: Headers) -> bytes | None:
    """The event of a record as one JSON object; in binary mode it is made from value and headers.

    Raises:
        EventFormatError: another format, or no valid form.
    """
    if value_is_event(headers):
        return value
    if not _are_readable(headers):
        raise EventFormatError("not_utf8", "The name of a header is not UTF-8 text.")
    content_type = _content_type(headers)
    if content_type.startswith(STRUCTURED):
        raise EventFormatError(
            "not_json",
            f"content-type: {_media_type(content_type)[:SHOWN_MAX]!r} is not read; publish each event as a "
            f"record of its own, in binary mode or as {STRUCTURED}+json.",
        )
    attributes = _attributes(headers)
    if content_type:
        attributes["datacontenttype"] = content_type
    return msgspec.json.encode(attributes if not value else {**attributes, "data": _json(value, "data")})


def normalized_event(value: bytes) -> bytes:
    """An event's JSON without nulls and base64; the same object if it has none.

    Raises:
        EventFormatError: a key occurs twice, or the data is not JSON or given twice.
    """
    _refuse_doubled(value)
    if b"null" not in value and b"data_base64" not in value:
        return value
    try:
        event = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value
    if not isinstance(event, dict):
        return value
    present = _without_nulls(event)
    if "data_base64" in present:
        if "data" in present:
            raise EventFormatError("invalid_field", "The event has both data and data_base64.")
        present["data"] = msgspec.json.decode(_decoded(present.pop("data_base64")))
    if isinstance(present.get("data"), dict):
        present["data"] = _without_nulls(present["data"])
    return msgspec.json.encode(present) if present != event else value


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _content_type(headers: Headers) -> str:
    found = (value for name, value in headers if name.lower() == "content-type")
    return (next(found, None) or b"").decode(errors="replace").strip().lower()


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip()


def _are_readable(headers: Headers) -> bool:
    return all(name != UNREADABLE_NAME for name, _ in headers)


def _attributes(headers: Headers) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, value in headers:
        attribute = name.removeprefix(_PREFIX)
        if attribute == name or value is None:
            continue
        if attribute in attributes:
            raise EventFormatError("doubled_key", f"The header {name[:SHOWN_MAX]!r} stands twice.")
        if attribute in _NOT_ATTRIBUTES:
            raise EventFormatError(
                "invalid_field", f"The header {name!r} is no attribute; data is the value."
            )
        try:
            attributes[attribute] = value.decode()
        except UnicodeDecodeError as error:
            raise EventFormatError(
                "not_utf8",
                f"The header {name[:SHOWN_MAX]!r} is not UTF-8 text: byte {error.start} can't be decoded.",
            ) from None
    return attributes


def _decoded(text: object) -> bytes:
    try:
        value = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        value = None
    if value is None:
        raise EventFormatError("invalid_field", "data_base64: expected a text in base64.")
    _json(value, "data_base64")
    _refuse_doubled(value)
    return value


def _json(value: bytes, what: str) -> msgspec.Raw:
    """A checked JSON text, to be put into another."""
    try:
        value.decode()
        return msgspec.json.decode(value, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        raise EventFormatError(
            "not_utf8", f"{what}: the bytes are not UTF-8 text: byte {error.start} can't be decoded."
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise EventFormatError("not_json", f"{what}: the bytes are not JSON: {error}.") from None


def _refuse_doubled(value: bytes) -> None:
    key = duplicate_key(value)
    if key is not None:
        raise EventFormatError("doubled_key", f"The key {key[:SHOWN_MAX]!r} stands twice in one object.")
