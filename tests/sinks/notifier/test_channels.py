"""The robots, e-mail and Slack: requests on the wire, and the outcomes of answers."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.header import decode_header, make_header
from email.message import Message as Mail
from urllib.parse import parse_qs, urlsplit

import pytest
from apprise.plugins.base import NotifyBase
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.lark import NotifyLark
from apprise.plugins.slack import NotifySlack
from apprise.plugins.wecombot import NotifyWeComBot

from sinks.notifier import http, robots
from sinks.notifier.channels import Message, deliverer, is_safe, plugin_of
from sinks.notifier.robots import RobotRequest, read_answer, request_to
from sinks.notifier.routes import App, ChannelName, Language, Route
from tests.sinks.notifier.parts import HOST, Answer, Receiver, alert, mail_server

NOW_MS = 1_792_231_503_120
NAME = App(name="会员中心", owner="east")
ROBOTS: tuple[tuple[ChannelName, str], ...] = (
    ("wecom", "wecombot://robot-key"),
    ("wecom", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=robot-key"),
    ("dingtalk", "dingtalk://robottoken"),
    ("feishu", "feishu://robot-token"),
    ("feishu", "lark://robot-token"),
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(lambda _request: Answer(200, body=b'{"errcode":0}')) as running:
        yield running


def robot_of(channel: ChannelName, address: str) -> robots.Robot:
    plugin = plugin_of(channel, address)
    assert isinstance(plugin, robots.ROBOTS)
    return plugin


def redirected(plugin: NotifyBase, url: str) -> NotifyBase:
    """apprise's plugin, sending to a server of the test."""
    match plugin:
        case NotifyWeComBot():
            plugin.api_url = url
        case NotifyLark():
            plugin.webhook_url = url
        case NotifySlack():
            plugin.webhook_url = url
        case NotifyDingTalk() | NotifyFeishu():
            plugin.notify_url = url
    return plugin


@pytest.mark.parametrize(("channel", "address"), ROBOTS)
def test_a_robot_gets_the_request_that_apprise_would_send(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, channel: ChannelName, address: str
) -> None:
    ours = request_to(robot_of(channel, address), "余量 5%\n剩余 480 次", NOW_MS)
    theirs = redirected(robot_of(channel, address), receiver.url)
    monkeypatch.setattr(theirs, "throttle", lambda *_arguments, **_named: None)
    assert theirs.send(body="余量 5%\n剩余 480 次")
    assert json.loads(ours.body) == receiver.requests[0].json
    assert ours.url.startswith("https://")


def test_dingtalks_signature_is_encoded_once() -> None:
    url = request_to(robot_of("dingtalk", "dingtalk://SECabc@robottoken"), "text", NOW_MS).url
    query = parse_qs(urlsplit(url).query)
    digest = hmac.new(b"SECabc", f"{NOW_MS}\nSECabc".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(digest).decode()]
    assert (query["access_token"], query["timestamp"]) == (["robottoken"], [str(NOW_MS)])


@pytest.mark.parametrize("address", ["feishu://robot-token", "lark://robot-token"])
def test_feishu_is_signed_by_its_secret_if_it_has_one(address: str) -> None:
    robot = robot_of("feishu", address)
    signed = json.loads(request_to(robot, "text", NOW_MS, "its-secret").body)
    digest = hmac.new(f"{NOW_MS // 1_000}\nits-secret".encode(), b"", hashlib.sha256).digest()
    assert signed.pop("sign") == base64.b64encode(digest).decode()
    assert signed.pop("timestamp") == str(NOW_MS // 1_000)
    assert signed == json.loads(request_to(robot, "text", NOW_MS).body)


def test_a_feishu_route_sends_the_signature_of_its_secret(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answer = lambda _request: Answer(200, body=b'{"code":0}')
    monkeypatch.setattr(NotifyFeishu, "notify_url", receiver.url)
    route = Route(name="r", channel="feishu", address="feishu://robot-token", secrets=("its-secret",))
    assert deliverer(5)(route, Message("m", [alert()], [NAME], held=False), NOW_MS).delivered
    assert receiver.requests[0].json["timestamp"] == str(NOW_MS // 1_000)
    assert "text" in receiver.requests[0].json["content"]


@pytest.mark.parametrize(
    ("answer", "delivered", "reason"),
    [
        (Answer(200, body=b'{"errcode":0,"errmsg":"ok"}'), True, "answered 0"),
        (Answer(200, body=b'{"code":0,"msg":"success"}'), True, "answered 0"),
        (
            Answer(200, body=b'{"errcode":45009,"errmsg":"api freq out of limit"}'),
            False,
            "the robot answered error 45009: api freq out of limit",
        ),
        (Answer(200, body=b'{"code":19024,"msg":"Key Words Not Found"}'), False, "the robot answered error"),
        (Answer(200, body=b'{"errmsg":"ok"}'), False, "the robot answered error None: ok"),
        (Answer(200, body=b"{}"), False, "the robot answered error None"),
        (Answer(200, body=b"<html>"), False, "answered 200 with something that is not a robot's answer"),
        (Answer(500), False, "answered 500"),
    ],
)
def test_only_an_error_number_of_zero_is_a_delivery(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    delivered: bool,  # noqa: FBT001 - pytest gives it by name
    reason: str,
) -> None:
    receiver.answer = lambda _request: answer
    monkeypatch.setattr(robots, "request_to", lambda *_arguments: RobotRequest(receiver.url, b"{}"))
    outcome = robots.send(robot_of("wecom", "wecombot://robot-key"), "text", 5, NOW_MS)
    assert outcome.delivered is delivered
    assert outcome.reason.startswith(reason)


def test_a_robot_never_disables_its_route() -> None:
    assert not read_answer(http.Answer(410, "", ""), NOW_MS).gone


@pytest.mark.parametrize(
    ("language", "word", "left_out"),
    [("zh", "【紧急】会员中心", "没有列出"), ("en", "[Urgent] 会员中心", "not listed here")],
)
def test_a_full_digest_fits_into_a_robots_message(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, language: Language, word: str, left_out: str
) -> None:
    monkeypatch.setattr(
        robots,
        "request_to",
        lambda _robot, text, *_more: RobotRequest(receiver.url, json.dumps({"text": text}).encode()),
    )
    route = Route(name="r", channel="wecom", address="wecombot://robot-key", language=language)
    alerts = [alert(offset, details={"level_percent": 0, "size": 1_000}) for offset in range(50)]
    assert deliverer(5)(route, Message("m", alerts, [NAME] * 50, held=True), NOW_MS).delivered
    text = receiver.requests[0].json["text"]
    assert len(text.encode()) <= robots.TEXT_BYTES_MAX
    assert word in text
    assert text.endswith(left_out)


def mailed(message: Message, port: int, language: Language, options: str = "") -> tuple[str, Mail]:
    """Deliver a message to a mail server on a port; returns the address, and the mail that arrived."""
    with mail_server(port) as mailbox:
        address = f"{mailbox.address}&to=owner@example.com{options}"
        route = Route(name="mail", channel="email", address=address, language=language)
        outcome = deliverer(5)(route, message, NOW_MS)
    assert outcome.delivered, outcome
    (mail,) = mailbox.mails
    return address, mail


def test_an_e_mail_arrives_with_a_subject_and_plain_text(free_port: Callable[[], int]) -> None:
    address, mail = mailed(Message("m", [alert()], [NAME], held=False), free_port(), "en")
    assert str(make_header(decode_header(mail["subject"]))) == (
        "[Warning] 会员中心 (wxfb1f3d218d111092) quick verification"
    )
    text = next(part for part in mail.walk() if part.get_content_type() == "text/plain")
    payload = text.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert "Remaining: 100 calls" in payload.decode()
    assert is_safe("email", address)
    assert not is_safe("email", "mailto://me:secret@mail.example.com")


def test_a_mail_server_that_is_not_there_is_a_failure_without_the_password(
    free_port: Callable[[], int],
) -> None:
    address = f"mailto://me:hunter2@{HOST}:{free_port()}?to=owner@example.com"
    outcome = deliverer(5)(
        Route(name="mail", channel="email", address=address),
        Message("m", [alert()], [NAME], held=False),
        NOW_MS,
    )
    assert not outcome.delivered
    assert outcome.reason
    assert "hunter2" not in outcome.reason


def test_a_mail_server_that_never_ends_its_greeting_does_not_block_an_attempt() -> None:
    with socket.create_server((HOST, 0)) as server, ending() as over:
        threading.Thread(target=greet_without_end, args=(server, over), daemon=True).start()
        address = f"mailto://{HOST}:{server.getsockname()[1]}?from=phonemeter@example.com&to=you@example.com"
        route = Route(name="mail", channel="email", address=address)
        began_s = time.monotonic()
        outcome = deliverer(1)(route, Message("m", [alert()], [NAME], held=False), NOW_MS)
        took_s = time.monotonic() - began_s
    assert not outcome.delivered
    assert outcome.reason == "no end within 1.5 s; it may arrive"
    assert took_s < 10


@contextmanager
def ending() -> Iterator[threading.Event]:
    over = threading.Event()
    try:
        yield over
    finally:
        over.set()


def greet_without_end(server: socket.socket, over: threading.Event) -> None:
    """Send a greeting without end, so that no single read times out."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        while not over.wait(0.2):
            connection.sendall(b"2")


def test_slack_gets_title_and_text(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.answer = lambda _request: Answer(200, body=b"ok")
    monkeypatch.setattr(NotifySlack, "webhook_url", receiver.url)
    address = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    route = Route(name="slack", channel="slack", address=address, language="en")
    outcome = deliverer(5)(route, Message("m", [alert()], [NAME], held=False), NOW_MS)
    assert outcome.delivered, outcome
    assert "[Warning] 会员中心" in json.dumps(receiver.requests[0].json, ensure_ascii=False)

    receiver.answer = lambda _request: Answer(404, body=b"no_service")
    assert not deliverer(5)(route, Message("m", [alert()], [NAME], held=False), NOW_MS).delivered
