"""The check before sending: refuses what the stream would reject, and phone numbers and openids.

Nearly all events are taps with known fields only. For those one strict decoding, which accepts no other
field, decides in a third of the time; everything else is checked in full.
"""

from typing import Literal

import msgspec

from metering.duplicate_keys import has_unique_keys
from metering.event_validation import EARLIEST, is_appid, latest_time, read_event
from metering.events import (
    VALUE_BYTES_MAX,
    AnyEvent,
    Authorization,
    AuthorizationData,
    Denied,
    Failed,
    Succeeded,
    UnsuccessfulData,
)
from metering.personal_identifiers import (
    PHONE_NUMBER_DIGITS,
    are_hashes,
    find_identifier,
    find_identifier_cached,
    is_client,
)
from metering.rejections import Rejection
from producers.codes import refusal_of_id
from producers.privacy import find_personal_data


def check(value: bytes, *, now_ms: int | None) -> AnyEvent | Rejection:
    """Return the decoded event if it may be sent, otherwise the rejection.

    `now_ms` is when it reaches the log; None offline, where that is its own time.
    """
    return _plain_tap(value, now_ms) or check_in_full(value, now_ms=now_ms)


def check_in_full(value: bytes, *, now_ms: int | None) -> AnyEvent | Rejection:
    """Check as `check` does, without its shortcut."""
    event = read_event(value, now_ms=now_ms)
    if isinstance(event, Rejection):
        return event
    if isinstance(event, Authorization):
        refused = refusal_of_id(event.subject, event.id)
        if refused is not None:
            return refused
    return find_personal_data(value) or event


class _PlainData(AuthorizationData, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class _PlainUnsuccessfulData(UnsuccessfulData, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class _PlainSucceeded(
    Succeeded,
    frozen=True,
    kw_only=True,
    gc=False,
    forbid_unknown_fields=True,
    tag="phone.authorization.succeeded",
):
    data: _PlainData
    datacontenttype: Literal["application/json", ""] = ""


class _PlainDenied(
    Denied, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, tag="phone.authorization.denied"
):
    data: _PlainUnsuccessfulData
    datacontenttype: Literal["application/json", ""] = ""


class _PlainFailed(
    Failed, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, tag="phone.authorization.failed"
):
    data: _PlainUnsuccessfulData
    datacontenttype: Literal["application/json", ""] = ""


_PlainTap = _PlainSucceeded | _PlainDenied | _PlainFailed

_decoder: msgspec.json.Decoder[_PlainTap] = msgspec.json.Decoder(_PlainTap)


def _plain_tap(value: bytes, now_ms: int | None) -> _PlainTap | None:
    """Return a tap that is valid in every field; None means that it has to be checked in full."""
    if len(value) > VALUE_BYTES_MAX:
        return None
    try:
        tap = _decoder.decode(value)
        if not value.isascii():
            value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not (EARLIEST <= tap.time <= latest_time(now_ms) and is_appid(tap.subject)):
        return None
    anonymous = _is_anonymous(tap) and refusal_of_id(tap.subject, tap.id) is None
    return tap if anonymous and has_unique_keys(value, tap) else None


def _is_anonymous(tap: _PlainTap) -> bool:
    data = tap.data
    # Most texts are short and repeat.
    for text in (tap.source, tap.subject, data.scene, data.store, data.env):
        if len(text) >= PHONE_NUMBER_DIGITS and find_identifier_cached(text) is not None:
            return False
    return are_hashes((tap.id, data.client)) or (
        find_identifier(tap.id) is None and is_client(data.client) and find_identifier(data.client) is None
    )
