"""The robots of WeCom, DingTalk and Feishu: addresses as apprise reads them, and what an answer says.

apprise 2.2.0 takes every answer of status 200 for a delivery, but these robots answer 200 and an error number
when they deliver nothing, and it knows no signature of Feishu. So the address and the body are apprise's, and
the exchange is ours.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.lark import NotifyLark
from apprise.plugins.wecombot import NotifyWeComBot

from sinks.notifier.http import Answer, UnreachableError, post
from sinks.notifier.planning import Outcome
from sinks.notifier.webhook import outcome_of

TEXT_BYTES_MAX: Final = 2_000
"""WeCom takes 2,048 bytes of text, the others more."""

REASON_CHARS_MAX: Final = 120

Robot = NotifyWeComBot | NotifyDingTalk | NotifyFeishu | NotifyLark
ROBOTS: Final = (NotifyWeComBot, NotifyDingTalk, NotifyFeishu, NotifyLark)


class Post(NamedTuple):
    """What is sent to a robot."""

    url: str
    body: bytes


def post_to(robot: Robot, text: str, now_ms: int, secret: str = "") -> Post:
    """The request that shows a text in the robot's group; a Feishu robot may have a secret to sign by."""
    match robot:
        case NotifyWeComBot():
            return _json(robot.api_url, {"msgtype": "text", "text": {"content": text}})
        case NotifyDingTalk():
            at = {"atMobiles": robot.targets, "isAtAll": False}
            url = f"{robot.notify_url.format(token=robot.token)}{_dingtalk_signature(robot, now_ms)}"
            return _json(url, {"msgtype": "text", "at": at, "text": {"content": text}})
        case NotifyFeishu():
            url = robot.notify_url.format(token=robot.token).rstrip("/")
            return _json(url, _feishu(text, secret, now_ms))
        case NotifyLark():
            return _json(robot.webhook_url, _feishu(text, secret, now_ms))


def send(robot: Robot, text: str, timeout_s: float, now_ms: int, secret: str = "") -> Outcome:
    """Make one attempt."""
    request = post_to(robot, text, now_ms, secret)
    try:
        answer = post(request.url, request.body, {}, timeout_s)
    except UnreachableError as error:
        return Outcome(delivered=False, reason=str(error))
    return read_answer(answer, now_ms)


def read_answer(answer: Answer, now_ms: int) -> Outcome:
    """What a robot's answer says: only an error number of zero is a delivery."""
    if answer.status != HTTPStatus.OK:
        # A robot that was removed answers 200 with an error number: 410 has no meaning of its own here.
        return outcome_of(answer, now_ms)._replace(gone=False)
    try:
        said: Any = msgspec.json.decode(answer.text)
    except ValueError:
        said = None
    if not isinstance(said, Mapping):
        return Outcome(delivered=False, reason="answered 200 with something that is not a robot's answer")
    number = said.get("errcode", said.get("code", said.get("StatusCode")))
    if number == 0:
        return Outcome(delivered=True, reason="answered 0")
    words = str(said.get("errmsg", said.get("msg", "")))[:REASON_CHARS_MAX]
    return Outcome(delivered=False, reason=f"the robot answered error {number}: {words}")


def _json(url: str, body: Mapping[str, object]) -> Post:
    return Post(url, msgspec.json.encode(body))


def _feishu(text: str, secret: str, now_ms: int) -> dict[str, object]:
    """What Feishu and Lark take; the signature is that of nothing, by the time in seconds and the secret."""
    body: dict[str, object] = {"msg_type": "text", "content": {"text": text}}
    if not secret:
        return body
    stamp = str(now_ms // 1_000)
    digest = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return {"timestamp": stamp, "sign": base64.b64encode(digest).decode(), **body}


def _dingtalk_signature(robot: NotifyDingTalk, now_ms: int) -> str:
    """DingTalk's own signature: the base64 of a keyed hash, encoded for the URL once."""
    if not robot.secret:
        return ""
    text = f"{now_ms}\n{robot.secret}".encode()
    digest = hmac.new(robot.secret.encode(), text, hashlib.sha256).digest()
    return "&" + urlencode({"timestamp": now_ms, "sign": base64.b64encode(digest).decode()})
