"""Whether an event may be sent: neither what the stream would reject nor a person's phone number or openid.

`check` is the rule. Nearly all events are taps that hold nothing but the fields of the format, and for those
one strict decoding, which knows no other field, answers in a third of the time; whatever it hesitates about
is looked at in full.
"""

from functools import lru_cache
from typing import Literal

import msgspec

from metering.events import (
    EARLIEST,
    PHONE_NUMBER_DIGITS,
    VALUE_BYTES_MAX,
    AnyEvent,
    AuthorizationData,
    Denied,
    Failed,
    Rejection,
    Succeeded,
    UnsuccessfulData,
    is_appid,
    is_no_phone_number,
    latest_time,
    looks_like_phone_number,
    read_event,
)
from producers.privacy import find_personal_data


def check(value: bytes, *, now_ms: int | None) -> AnyEvent | Rejection:
    """Read an event that may be sent, or say why it may not.

    Args:
        value: the event, as JSON bytes.
        now_ms: when it reaches the log; None offline, where that is its own time.
    """
    return _plain_tap(value, now_ms) or check_in_full(value, now_ms=now_ms)


def check_in_full(value: bytes, *, now_ms: int | None) -> AnyEvent | Rejection:
    """As `check`, without its short cut."""
    event = read_event(value, now_ms=now_ms)
    if isinstance(event, Rejection):
        return event
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
    datacontenttype: Literal["application/json"] = "application/json"


class _PlainDenied(
    Denied, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, tag="phone.authorization.denied"
):
    data: _PlainUnsuccessfulData
    datacontenttype: Literal["application/json"] = "application/json"


class _PlainFailed(
    Failed, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, tag="phone.authorization.failed"
):
    data: _PlainUnsuccessfulData
    datacontenttype: Literal["application/json"] = "application/json"


_PlainTap = _PlainSucceeded | _PlainDenied | _PlainFailed

_decoder: msgspec.json.Decoder[_PlainTap] = msgspec.json.Decoder(_PlainTap)


def _plain_tap(value: bytes, now_ms: int | None) -> _PlainTap | None:
    """A tap of which all is known and allowed; None says nothing but that it has to be looked at in full."""
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
    data = tap.data
    for text in (tap.id, tap.source, tap.subject, data.scene, data.store, data.env, data.client):
        # Most texts are short, and hashes, the most frequent long ones, need no closer look.
        if len(text) >= PHONE_NUMBER_DIGITS and not is_no_phone_number(text) and _is_dubious(text):
            return None
    return tap


_is_dubious = lru_cache(maxsize=4_096)(looks_like_phone_number)
"""Sources, scenes and stores come again and again."""
