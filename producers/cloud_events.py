"""CloudEvents as dicts: their envelope, their ids, and the check that the metering would accept them."""

import hashlib
from datetime import datetime
from typing import Any, Final

import msgspec

from metering.rejections import Rejection
from metering.times import format_time, to_ms
from producers.errors import RefusedError
from producers.event_check import check

CloudEvent = dict[str, Any]
"""A CloudEvents 1.0 record as JSON holds it."""

SOURCE: Final = "/backend"
_encoder = msgspec.json.Encoder()


def named_id(*parts: str) -> str:
    """The id of what has no code, from what names it; line feeds keep it apart from every `appid:code`."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def to_json(event: CloudEvent) -> bytes:
    """The JSON bytes of an event."""
    return _encoder.encode(event)


def refusal(value: bytes, *, now_ms: int | None) -> Rejection | None:
    """Return the rejection of an event that must not be sent; None if it may be."""
    event = check(value, now_ms=now_ms)
    return event if isinstance(event, Rejection) else None


def cloud_event(
    kind: str, identifier: str, subject: str, time: str, *, source: str, data: dict[str, Any] | None
) -> CloudEvent:
    """The envelope of an event, unchecked."""
    event: CloudEvent = {
        "specversion": "1.0",
        "id": identifier,
        "source": source,
        "type": kind,
        "subject": subject,
        "time": time,
    }
    if data is not None:
        event["datacontenttype"] = "application/json"
        event["data"] = data
    return event


def checked_event(
    kind: str, identifier: str, subject: str, time: datetime, *, source: str, data: dict[str, Any] | None
) -> CloudEvent:
    """The event, as the metering would accept it.

    Raises:
        RefusedError: it would not.
    """
    event = cloud_event(kind, identifier, subject, timestamp(time), source=source, data=data)
    rejection = refusal(to_json(event), now_ms=None)
    if rejection is not None:
        raise RefusedError(rejection)
    return event


def timestamp(moment: datetime) -> str:
    """The text of a moment as events have it.

    Raises:
        RefusedError: it has no time zone.
    """
    if moment.tzinfo is None:
        raise RefusedError(
            Rejection("invalid_field", f"The time {moment.isoformat()} has no time zone; add one.")
        )
    return format_time(to_ms(moment))
