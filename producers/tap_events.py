"""Builders of the events of taps: authorizations that succeeded, were denied or failed."""

import hmac
import secrets
from datetime import datetime
from typing import Final

from metering.agreement_causes import LEGACY_SOURCE
from metering.events import Capability
from producers.cloud_events import SOURCE, CloudEvent, checked_event, named_id
from producers.codes import id_of, refusal_of_code
from producers.errors import RefusedError

ERRNO_DENIED: Final = 103
ERRNO_QUOTA_EXHAUSTED: Final = 1_400_001
CLIENT_HASH_DIGITS: Final = 16
CLIENT_KEY_BYTES_MIN: Final = 16


def event_id(appid: str, code: str) -> str:
    """The idempotency key of a tap: retrying one code is one call, a second tap has another (rule 2)."""
    return id_of(appid, code)


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
        capability: the component that was tapped; the platform's answer does not have it.
        time: when the client got the success callback, with a zone: the moment of the charge (rule 1).
        scene: the entry page, such as `card_claim`.
        store: the store whose code was scanned, if any.
        env: the mini-program's build: `release`, `trial` or `develop`.
        client: `client_hash` of the user.
        source: the name of your back end.
    """
    refused = refusal_of_code(code)
    if refused is not None:
        raise RefusedError(refused)
    data = _place(capability, scene, store, env, client)
    return checked_event(
        "phone.authorization.succeeded", event_id(appid, code), appid, time, source=source, data=data
    )


def authorization_decrypted(
    *,
    appid: str,
    tap: str,
    capability: Capability,
    time: datetime,
    scene: str = "",
    store: str = "",
    env: str = "release",
    client: str = "",
    source: str = SOURCE,
) -> CloudEvent:
    """A user gave the number to an old client, without a code: your server decrypted it.

    `tap` is any text unique to the tap, such as the `encryptedData`; it is hashed and does not travel. The
    source ends in `/legacy`, by which such calls are told where counts differ (rule 17).
    """
    refused = refusal_of_code(tap)
    if refused is not None:
        raise RefusedError(refused)
    data = _place(capability, scene, store, env, client)
    kind = "phone.authorization.succeeded"
    told_by = source.removesuffix(LEGACY_SOURCE) + LEGACY_SOURCE
    return checked_event(kind, named_id(kind, appid, tap), appid, time, source=told_by, data=data)


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
    data = {"errno": errno, **_place(capability, scene, store, env, client)}
    return checked_event(
        "phone.authorization.denied", _tap_id(appid, tap), appid, time, source=source, data=data
    )


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

    `tap` as for a denied tap. A code that could not be exchanged was charged: publish it as succeeded. Where
    that can't be done, end the source in `/exchange`, with the `errno` of the exchange or 0 without one.
    """
    data = {"errno": errno, **_place(capability, scene, store, env, client)}
    return checked_event(
        "phone.authorization.failed", _tap_id(appid, tap), appid, time, source=source, data=data
    )


def _place(capability: Capability, scene: str, store: str, env: str, client: str) -> dict[str, str]:
    """The fields that the data of every tap has."""
    return {"capability": capability, "scene": scene, "store": store, "env": env, "client": client}


def _tap_id(appid: str, tap: str) -> str:
    return id_of(appid, tap or secrets.token_hex(16))
