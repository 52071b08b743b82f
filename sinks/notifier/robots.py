"""The robots of WeCom, DingTalk and Feishu.

apprise 2.2.0 takes every answer of status 200 for a delivery, but these robots answer 200 with an error
number when they deliver nothing; and it lacks Feishu's signatures. Only addresses and bodies are apprise's.
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
from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.webhook import outcome_of

TEXT_BYTES_MAX: Final = 2_000
"""Size of a message: WeCom accepts 2,048 bytes of text, the others more."""

REASON_CHARS_MAX: Final = 120

_BRACKETS: Final = str.maketrans("<>", "＜＞")

Robot = NotifyWeComBot | NotifyDingTalk | NotifyFeishu | NotifyLark
ROBOTS: Final = (NotifyWeComBot, NotifyDingTalk, NotifyFeishu, NotifyLark)


class RobotRequest(NamedTuple):
    """A POST request to a robot."""

    url: str
    body: bytes


def escape_tags(text: str) -> str:
    """Escape tags such as `<at user_id="all">`, which these robots interpret even in plain text.

    No robot has an escape that all of its clients undo, so the brackets become full-width ones.
    """
    return text.translate(_BRACKETS)


def request_to(robot: Robot, text: str, now_ms: int, secret: str = "") -> RobotRequest:
    """The request that shows a text in the robot's group; a Feishu robot may need a `secret` to sign it."""
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


def send(robot: Robot, text: str, timeout_s: float, now_ms: int, secret: str = "") -> AttemptOutcome:
    """Make one attempt."""
    request = request_to(robot, text, now_ms, secret)
    try:
        answer = post(request.url, request.body, {}, timeout_s)
    except UnreachableError as error:
        return AttemptOutcome(delivered=False, reason=str(error))
    return read_answer(answer, now_ms)


def read_answer(answer: Answer, now_ms: int) -> AttemptOutcome:
    """The outcome by a robot's answer: only the error number zero is a delivery."""
    if answer.status != HTTPStatus.OK:
        # A removed robot answers 200 with an error number, so 410 does not mean that it is gone.
        return outcome_of(answer, now_ms)._replace(gone=False)
    try:
        content: Any = msgspec.json.decode(answer.text)
    except ValueError:
        content = None
    if not isinstance(content, Mapping):
        return AttemptOutcome(
            delivered=False, reason="answered 200 with something that is not a robot's answer"
        )
    number = content.get("errcode", content.get("code", content.get("StatusCode")))
    if number == 0:
        return AttemptOutcome(delivered=True, reason="answered 0")
    words = str(content.get("errmsg", content.get("msg", "")))[:REASON_CHARS_MAX]
    return AttemptOutcome(delivered=False, reason=f"the robot answered error {number}: {words}")


def _json(url: str, body: Mapping[str, object]) -> RobotRequest:
    return RobotRequest(url, msgspec.json.encode(body))


def _feishu(text: str, secret: str, now_ms: int) -> dict[str, object]:
    """The body for Feishu and Lark, signed by the hash of an empty text, keyed by seconds and secret."""
    body: dict[str, object] = {"msg_type": "text", "content": {"text": text}}
    if not secret:
        return body
    stamp = str(now_ms // 1_000)
    digest = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return {"timestamp": stamp, "sign": base64.b64encode(digest).decode(), **body}


def _dingtalk_signature(robot: NotifyDingTalk, now_ms: int) -> str:
    """DingTalk's signature: the base64 of a keyed hash, encoded for the URL once."""
    if not robot.secret:
        return ""
    text = f"{now_ms}\n{robot.secret}".encode()
    digest = hmac.new(robot.secret.encode(), text, hashlib.sha256).digest()
    return "&" + urlencode({"timestamp": now_ms, "sign": base64.b64encode(digest).decode()})
