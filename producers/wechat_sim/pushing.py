"""The pushes of the stand-in, in each of WeChat's modes and both formats."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import aiohttp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from producers.wechat_sim.accounts import PushTarget

Mode = Literal["plain", "compatible", "safe"]
Format = Literal["xml", "json"]

ANSWERED_WITHIN_S: Final = 5.0
"""Time that WeChat waits for an answer."""


class SentPush(NamedTuple):
    """A push as it goes over the wire."""

    query: dict[str, str]
    body: bytes


class PushReply(NamedTuple):
    """A receiver's answer; status 0 is none."""

    status: int
    text: str


def signed(*parts: str) -> str:
    """WeChat's signature of some texts."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def encrypted(content: bytes, aes_key: str, appid: str) -> str:
    """A message encrypted for an appid: 16 random bytes, its length, itself and the appid, in AES-256-CBC."""
    key = base64.b64decode(f"{aes_key}=")
    padder = PKCS7(256).padder()
    whole = secrets.token_bytes(16) + len(content).to_bytes(4, "big") + content + appid.encode()
    padded = padder.update(whole) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def written(fields: Mapping[str, str | int], style: Format) -> bytes:
    """A message in one of the two formats."""
    if style == "json":
        return json.dumps(dict(fields), ensure_ascii=False).encode()
    tags = "".join(
        f"<{name}>{value}</{name}>" if isinstance(value, int) else f"<{name}><![CDATA[{value}]]></{name}>"
        for name, value in fields.items()
    )
    return f"<xml>{tags}</xml>".encode()


def make_push(
    fields: Mapping[str, str | int],
    target: PushTarget,
    receiver: str,
    mode: Mode,
    style: Format,
    now_s: float | None = None,
) -> SentPush:
    """A push to a receiver; in the modes with encryption the target has a key."""
    timestamp = str(int(time.time() if now_s is None else now_s))
    nonce = str(secrets.randbelow(10**10))
    query = {
        "signature": signed(target.token, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
    }
    content = written(fields, style)
    if mode == "plain":
        return SentPush(query, content)
    secret = encrypted(content, target.aes_key, receiver)
    query |= {
        "encrypt_type": "aes",
        "msg_signature": signed(target.token, timestamp, nonce, secret),
    }
    shown = fields if mode == "compatible" else {"ToUserName": str(fields.get("ToUserName", ""))}
    return SentPush(query, written({**shown, "Encrypt": secret}, style))


def quota_message(
    appid: str, spu: str, used: int, total: int, created_s: int, event: str = "charge_service_quota_notify"
) -> dict[str, str | int]:
    """The message that a quota falls to 20, 10, 5 or 0 %."""
    return {
        "ToUserName": "gh_24b0688b9fda",
        "FromUserName": "wechat",
        "CreateTime": created_s,
        "MsgType": "event",
        "Event": event,
        "event_type": 3,
        "appid": appid,
        "spu_id": int(spu),
        "spu_name": "手机号快速验证组件",
        "total_quota": total,
        "total_used_quota": used,
    }


def validity_message(
    appid: str, spu: str, end_s: int, created_s: int, event: str = "charge_service_quota_notify"
) -> dict[str, str | int]:
    """The message that a validity ends in 15, 7, 3 or 1 days, or now."""
    message = quota_message(appid, spu, 0, 0, created_s, event)
    del message["total_quota"], message["total_used_quota"]
    return message | {"event_type": 4, "validity_end_time": str(end_s)}


def ticket_message(component: str, ticket: str, created_s: int) -> dict[str, str | int]:
    """The message that gives a third-party platform its ticket."""
    return {
        "AppId": component,
        "CreateTime": created_s,
        "InfoType": "component_verify_ticket",
        "ComponentVerifyTicket": ticket,
    }


async def send(session: aiohttp.ClientSession, target: PushTarget, push: SentPush) -> PushReply:
    """Send a push once."""
    try:
        async with session.post(
            target.url,
            params=push.query,
            data=push.body,
            timeout=aiohttp.ClientTimeout(ANSWERED_WITHIN_S),
        ) as response:
            return PushReply(response.status, (await response.text())[:100])
    except (aiohttp.ClientError, TimeoutError) as error:
        return PushReply(0, type(error).__name__)
