"""Builders of events for back-end teams: checked CloudEvents as dicts, ready to publish (DESIGN section 5).

Each raises `RefusedError` for a value that the metering would not accept.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from metering.events import CLOCK_KEY, Capability, Rejection
from metering.times import format_time, to_ms
from producers.checking import check
from producers.errors import RefusedError

CloudEvent = dict[str, Any]
"""A CloudEvents 1.0 record as JSON holds it."""

SOURCE: Final = "/backend"
ERRNO_DENIED: Final = 103
ERRNO_QUOTA_EXHAUSTED: Final = 1_400_001
CLIENT_HASH_DIGITS: Final = 16
CLIENT_KEY_BYTES_MIN: Final = 16

_encoder = msgspec.json.Encoder()


def event_id(appid: str, code: str) -> str:
    """The idempotency key of a tap: retrying one code is one call, a second tap has another (rule 2)."""
    return hashlib.sha256(f"{appid}:{code}".encode()).hexdigest()


def named_id(*parts: str) -> str:
    """The id of what has no code, from what names it; line feeds keep it apart from every `appid:code`."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def client_hash(openid: str, key: bytes) -> str:
    """A keyed hash that tells users apart without naming them: HMAC-SHA256, the first 16 hexadecimal digits.

    Args:
        openid: the user's openid, which stays here.
        key: a secret of at least 16 bytes; the same everywhere and for good, or users can't be recognized.

    Raises:
        ValueError: the key is too short to protect anything, or there is no openid.
    """
    if len(key) < CLIENT_KEY_BYTES_MIN:
        raise ValueError(
            f"the key of client_hash has {len(key)} bytes; use at least {CLIENT_KEY_BYTES_MIN} random bytes"
        )
    if not openid:
        raise ValueError("client_hash needs the user's openid; leave `client` empty when it is unknown")
    return hmac.digest(key, openid.encode(), "sha256").hex()[:CLIENT_HASH_DIGITS]


def to_json(event: CloudEvent) -> bytes:
    """The bytes of an event as they travel."""
    return _encoder.encode(event)


def refusal(value: bytes, *, now_ms: int | None) -> Rejection | None:
    """Why an event must not be sent, if it must not: what the stream would reject, and personal data."""
    event = check(value, now_ms=now_ms)
    return event if isinstance(event, Rejection) else None


def authorization_succeeded(
    *,
    appid: str,
    code: str,
    capability: Capability,
    time: datetime,
    scene: str = "",
    store: str = "",
    env: str = "release",
    client: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """A user gave the number: exactly one call.

    Args:
        appid: the mini-program.
        code: the `code` that the component's success callback gave; it is hashed and does not travel.
        capability: which component was tapped; the platform's answer does not tell.
        time: when the client got the success callback, with a zone: the moment of the charge (DESIGN rule 1).
        scene: the entry page, such as `card_claim`.
        store: the store whose code was scanned, if any.
        env: the mini-program's build: `release`, `trial` or `develop`.
        client: `client_hash` of the user.
        source: which of your back ends says so.
    """
    data = {"capability": capability, "scene": scene, "store": store, "env": env, "client": client}
    return _event(
        "phone.authorization.succeeded", event_id(appid, code), appid, time, source=source, data=data
    )


def authorization_denied(
    *,
    appid: str,
    capability: Capability,
    time: datetime,
    errno: int = ERRNO_DENIED,
    tap: str = "",
    scene: str = "",
    store: str = "",
    env: str = "release",
    client: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """A user refused: counted, never charged. A denied tap has no code: `tap` is any text unique to it.

    Without a `tap` the id is random: to retry, publish the same dict again instead of building another one.
    """
    data = {
        "errno": errno,
        "capability": capability,
        "scene": scene,
        "store": store,
        "env": env,
        "client": client,
    }
    return _event("phone.authorization.denied", _tap_id(appid, tap), appid, time, source=source, data=data)


def authorization_failed(
    *,
    appid: str,
    capability: Capability,
    time: datetime,
    errno: int,
    tap: str = "",
    scene: str = "",
    store: str = "",
    env: str = "release",
    client: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """The component failed, with its `errno` (1400001: the quota is exhausted): counted, never charged.

    `tap` as for a denied tap.
    """
    data = {
        "errno": errno,
        "capability": capability,
        "scene": scene,
        "store": store,
        "env": env,
        "client": client,
    }
    return _event("phone.authorization.failed", _tap_id(appid, tap), appid, time, source=source, data=data)


def pack_purchased(
    *,
    appid: str,
    pack_id: str,
    capability: Capability,
    calls: int,
    validity_days: int,
    price_micro_yuan: int,
    paid_at: datetime,
    order_id: str = "",
    starts_at: datetime | None = None,
    time: datetime | None = None,
    source: str = SOURCE,
) -> CloudEvent:
    """A pack was bought.

    Args:
        appid: the mini-program that owns it.
        pack_id: the platform's name of the pack.
        capability: the capability it serves.
        calls: its size.
        validity_days: 90, 180 or 365 on the platform.
        price_micro_yuan: what was paid, in micro-yuan: an integer (¥7.5 is 7,500,000).
        paid_at: when it was paid, with a zone.
        order_id: the order that bought it.
        starts_at: when it begins, if an agency assigned it to begin later.
        time: when this is recorded; `paid_at` unless given.
        source: which of your back ends says so.
    """
    data: dict[str, Any] = {
        "pack_id": pack_id,
        "order_id": order_id,
        "capability": capability,
        "calls": calls,
        "validity_days": validity_days,
        "price_micro_yuan": price_micro_yuan,
        "paid_at": _timestamp(paid_at),
    }
    if starts_at is not None:
        data["starts_at"] = _timestamp(starts_at)
    kind = "pack.purchased"
    return _event(kind, named_id(kind, appid, pack_id), appid, time or paid_at, source=source, data=data)


def pack_refunded(*, appid: str, pack_id: str, time: datetime, source: str = SOURCE) -> CloudEvent:
    """A refund of a pack was asked for at `time`."""
    kind = "pack.refunded"
    identifier = named_id(kind, appid, pack_id, _timestamp(time))
    return _event(kind, identifier, appid, time, source=source, data={"pack_id": pack_id})


def account_registered(
    *,
    appid: str,
    entity_type: str,
    time: datetime,
    name: str = "",
    category: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """Who owns an app from `time` on, which decides whether it is exempt (DESIGN rule 9)."""
    kind = "account.registered"
    data = {"name": name, "entity_type": entity_type, "category": category}
    return _event(kind, named_id(kind, appid, _timestamp(time)), appid, time, source=source, data=data)


def account_alerting_set(
    *,
    appid: str,
    time: datetime,
    levels_percent: Sequence[int] | None = None,
    expiry_days: Sequence[int] | None = None,
    run_out_lead_days: int | None = None,
    burn_minute_calls: int | None = None,
    burn_client_calls: int | None = None,
    burn_percent: int | None = None,
    source: str = SOURCE,
) -> CloudEvent:
    """An app's own alert thresholds; what is not given stays as it is."""
    kind = "account.alerting_set"
    given: dict[str, Any] = {
        "levels_percent": None if levels_percent is None else list(levels_percent),
        "expiry_days": None if expiry_days is None else list(expiry_days),
        "run_out_lead_days": run_out_lead_days,
        "burn_minute_calls": burn_minute_calls,
        "burn_client_calls": burn_client_calls,
        "burn_percent": burn_percent,
    }
    data = {name: value for name, value in given.items() if value is not None}
    return _event(kind, named_id(kind, appid, _timestamp(time)), appid, time, source=source, data=data)


def usage_observed(
    *,
    appid: str,
    capability: Capability,
    time: datetime,
    used: int,
    size: int,
    pack_id: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """What the platform's usage interface said of one pack, or of the trial when `pack_id` is empty."""
    kind = "platform.usage_observed"
    identifier = named_id(kind, appid, capability, pack_id, _timestamp(time))
    data = {"capability": capability, "pack_id": pack_id, "used": used, "size": size}
    return _event(kind, identifier, appid, time, source=source, data=data)


def clock_ticked(*, time: datetime, source: str = SOURCE) -> CloudEvent:
    """Time passed for every app; the producer sends it to every partition."""
    kind = "clock.ticked"
    return _event(kind, named_id(kind, _timestamp(time)), CLOCK_KEY, time, source=source, data=None)


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


def _event(
    kind: str, identifier: str, subject: str, time: datetime, *, source: str, data: dict[str, Any] | None
) -> CloudEvent:
    event = cloud_event(kind, identifier, subject, _timestamp(time), source=source, data=data)
    rejection = refusal(to_json(event), now_ms=None)
    if rejection is not None:
        raise RefusedError(rejection)
    return event


def _timestamp(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise RefusedError(
            Rejection("invalid_field", f"The time {moment.isoformat()} has no time zone; add one.")
        )
    return format_time(to_ms(moment))


def _tap_id(appid: str, tap: str) -> str:
    return event_id(appid, tap or secrets.token_hex(16))
