"""Shared parts of the three back ends: WeChat's exchange, the producer, and one tap from its request."""

import json
import os
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from phonemeter_client import (
    EventProducer,
    ExchangeError,
    PhoneNumberExchange,
    RefusedError,
    authorization_denied,
    authorization_failed,
    client_hash,
    tap_time,
)

APPID = os.environ["WECHAT_APPID"]
# A secret of yours, 16 bytes or more, the same for good.
CLIENT_KEY = os.environ["CLIENT_HASH_KEY"].encode()
WECHAT = os.environ.get("WECHAT_URL", "https://api.weixin.qq.com")
GATEWAY = os.environ.get("PHONEMETER_CLIENT_GATEWAY_URL", "http://127.0.0.1:9471")
# A key with the scope read.
GATEWAY_KEY = os.environ.get("PHONEMETER_READ_KEY", "")
DENIED = 103


def access_token() -> str:
    """Your access token of the app, from wherever you keep it."""
    return os.environ.get("WECHAT_ACCESS_TOKEN", "")


def ask_wechat(code: str) -> Mapping[str, Any]:
    """Ask WeChat for the number of a code."""
    url = f"{WECHAT}/wxa/business/getuserphonenumber?access_token={access_token()}"
    request = urllib.request.Request(url, json.dumps({"code": code}).encode())  # noqa: S310 - the URL above
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - the same
        found: Mapping[str, Any] = json.load(answer)
        return found


def route(store: str) -> str:
    """Say where the next member goes: `wechat`, `sms` or `manual`. Trouble must keep nobody away."""
    query = urlencode({"capability": "quick", "store": store} if store else {"capability": "quick"})
    request = urllib.request.Request(  # noqa: S310 - the gateway's URL
        f"{GATEWAY}/v1/apps/{APPID}/route?{query}", headers={"authorization": f"Bearer {GATEWAY_KEY}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=0.5) as answer:  # noqa: S310 - the same
            return str(json.load(answer)["route"])
    except (OSError, ValueError, KeyError):
        return "wechat"


def exchange_of(producer: EventProducer) -> PhoneNumberExchange:
    """The exchange that meters with a producer."""
    return PhoneNumberExchange(producer, ask_wechat)


def sign_up(exchange: PhoneNumberExchange, openid: str, tap: Mapping[str, Any]) -> tuple[int, dict[str, str]]:
    """Status and answer for the body of a successful tap; the number goes into your database."""
    try:
        number = exchange.exchange(
            appid=APPID,
            code=str(tap.get("code")),
            capability="realtime" if tap.get("component") == "getRealtimePhoneNumber" else "quick",
            phone_time=tap.get("tapped_at"),  # bounded by this server's clock
            scene=str(tap.get("scene", "")),
            store=str(tap.get("store", "")),
            client=client_hash(openid, CLIENT_KEY),
        )
    except RefusedError as error:
        return 422, {"error": str(error)}
    except ExchangeError as error:
        return 502, {"error": str(error)}
    return 200, {"signed_up": f"{len(number.pure_number)} digits"}


def note_outcome(producer: EventProducer, openid: str, tap: Mapping[str, Any]) -> None:
    """Meter a tap without a code: the user refused, or the component did (1400001: no calls are left)."""
    fields: dict[str, Any] = {
        "appid": APPID,
        "capability": "realtime" if tap.get("component") == "getRealtimePhoneNumber" else "quick",
        "time": tap_time(tap.get("tapped_at")),
        "tap": str(tap.get("tap", "")),
        "scene": str(tap.get("scene", "")),
        "client": client_hash(openid, CLIENT_KEY),
    }
    errno = int(tap.get("errno", DENIED))
    event = authorization_denied(**fields) if errno == DENIED else authorization_failed(errno=errno, **fields)
    producer.publish(event)
