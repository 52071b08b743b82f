"""The content modes of CloudEvents over HTTP: structured, batched and binary become JSON events."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from metering.content_modes import EventFormatError, Header, structured_event
from metering.rejections import Rejection
from producers.codes import id_of, refusal_of_code
from producers.gateway.problems import RequestProblem

EVENTS_MAX: Final = 1_000

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
JSON: Final = "application/json"
ATTRIBUTE: Final = "ce-"
VERSION: Final = "ce-specversion"
CODE: Final = "code"

UTF_8: Final = frozenset({"", "utf-8", "utf8"})
TAP: Final = "phone.authorization."

_split = msgspec.json.Decoder(list[msgspec.Raw])

Given = bytes | Rejection
"""One event of a request as JSON, or why it is none."""


def events_of(headers: Sequence[tuple[str, str]], body: bytes) -> list[Given]:
    """The events of a request, in their order.

    `headers` have lower-case names. JSON without an attribute in the headers is one event or a list of them.

    Raises:
        RequestProblem: the content type is not read, the body is not JSON, or there are too many.
    """
    media_type = _media_type(dict(headers).get("content-type", ""))
    if media_type == STRUCTURED:
        return [_with_id(body)]
    if media_type == BATCHED:
        return [_with_id(one) for one in _members(body)]
    if any(name == VERSION for name, _ in headers):
        return [_binary(headers, media_type, body)]
    if media_type == JSON:
        return [_with_id(one) for one in (_members(body) if body.lstrip()[:1] == b"[" else [body])]
    raise RequestProblem(
        "media_type",
        f"Send {STRUCTURED}, {BATCHED}, or the attributes as headers {ATTRIBUTE}... with the data as {JSON}.",
        {"accept-post": f"{STRUCTURED}, {BATCHED}, {JSON}"},
    )


def _media_type(content_type: str) -> str:
    media_type, *parameters = (part.strip() for part in content_type.lower().split(";"))
    charset = next((one.partition("=")[2].strip('"') for one in parameters if one.startswith("charset=")), "")
    if charset not in UTF_8:
        raise RequestProblem("media_type", "The charset of JSON is UTF-8; leave it out.")
    return media_type


def _members(body: bytes) -> list[bytes]:
    try:
        members = _split.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestProblem(
            "malformed", f"A batch is a JSON array of events, and the body is none: {str(error)[:200]}."
        ) from None
    if len(members) > EVENTS_MAX:
        raise RequestProblem(
            "too_large", f"A request has at most {EVENTS_MAX:,} events, this one {len(members):,}."
        )
    return [bytes(one) for one in members]


def _binary(headers: Iterable[tuple[str, str]], media_type: str, body: bytes) -> Given:
    """The event of a request in binary mode, read as the stream reads a record in that mode."""
    if media_type not in {"", JSON}:
        return Rejection("not_json", f"content-type: the data of an event is {JSON}.")
    try:
        attributes: list[Header] = [
            (f"ce_{name.removeprefix(ATTRIBUTE)}", unquote(value, errors="strict").encode())
            for name, value in headers
            if name.startswith(ATTRIBUTE)
        ]
        if media_type:
            attributes.append(("content-type", media_type.encode()))
        value = structured_event(body or None, attributes)
    except UnicodeDecodeError:
        return Rejection("not_utf8", f"A header {ATTRIBUTE}... is not UTF-8, percent-encoded.")
    except EventFormatError as error:
        return Rejection(error.reason, str(error))
    return _with_id(value or b"")


def _with_id(value: bytes) -> Given:
    """The event with the id of its `code`, if that is given instead; the code goes no further."""
    if b'"code"' not in value:
        return value
    try:
        event = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return value
    if not isinstance(event, dict) or CODE not in event:
        return value
    return _coded(event, event.pop(CODE))


def _coded(event: dict[str, Any], code: object) -> Given:
    subject = event.get("subject")
    refused = refusal_of_code(code)
    if refused is not None:
        return refused
    if not isinstance(subject, str) or not str(event.get("type", "")).startswith(TAP):
        return Rejection("invalid_field", f"code: only events {TAP}... with a subject have one.")
    identifier = id_of(subject, str(code))
    if event.setdefault("id", identifier) != identifier:
        return Rejection("invalid_field", "id: it is not the one of the code; send one of the two.")
    return msgspec.json.encode(event)
