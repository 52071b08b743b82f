"""Texts of events on the wire of each channel: they stay in their line, and no channel interprets them."""

import json
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.header import decode_header, make_header

import pytest
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.slack import NotifySlack

from metering.alerts import Alert
from sinks.notifier import robots
from sinks.notifier.channels import Message, deliverer
from sinks.notifier.robots import RobotRequest
from sinks.notifier.routes import App, ChannelName, Language, Route
from tests.sinks.notifier.parts import Answer, Receiver, alert
from tests.sinks.notifier.test_channels import NOW_MS, mailed

EVIL = (
    'P1\n【紧急】伪造 wxvictim\r\n建议：打开 https://evil.example <at user_id="all">所有人</at> <@all> '
    "<!channel> <https://evil.example|log in> <img src=http://evil.example/t.png> "
    "*b* `c` [d](http://e) & \u202e\x1b[31m"
)
APP = App(name="A & B <b>\nBcc: evil@example.com")
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"

KINDS = [
    alert(reason="expiry", pack_id=EVIL, details={"days": 1}),
    alert(reason="client_burn", details={"calls": 30, "usual": 1, "client": EVIL}),
    alert(reason="something_new", details={"flavour": EVIL, EVIL: 1}),
]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(lambda _request: Answer(200)) as running:
        yield running


@pytest.fixture(params=[*KINDS, KINDS], ids=["pack", "client", "unknown", "digest"])
def message(request: pytest.FixtureRequest) -> Message:
    alerts = [request.param] if isinstance(request.param, Alert) else request.param
    return Message("m", alerts, [APP] * len(alerts), held=len(alerts) > 1)


def lines_of(message: Message) -> int:
    """Number of lines of a message whose texts contain no line ends."""
    return 5 if len(message.alerts) == 1 else 1 + 2 * len(message.alerts)


def sent_to_robot(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, channel: ChannelName, address: str, message: Message
) -> str:
    receiver.answer = lambda _request: Answer(200, body=b'{"errcode":0,"code":0}')
    request_to = robots.request_to
    monkeypatch.setattr(
        robots, "request_to", lambda *given: RobotRequest(receiver.url, request_to(*given).body), raising=True
    )
    assert deliverer(5)(Route(name="r", channel=channel, address=address), message, NOW_MS).delivered
    body = receiver.requests[0].json
    assert body.get("msgtype", body.get("msg_type")) == "text"
    text = body["content"]["text"] if "content" in body else body["text"]["content"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("wecom", "wecombot://robot-key"),
        ("dingtalk", "dingtalk://robottoken"),
        ("feishu", "feishu://robot-token"),
        ("feishu", "lark://robot-token"),
    ],
)
def test_a_robot_shows_tags_and_mentions_as_text(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, message: Message, channel: ChannelName, address: str
) -> None:
    text = sent_to_robot(monkeypatch, receiver, channel, address, message)
    assert "<" not in text
    assert ">" not in text
    assert "A & B ＜b＞\\nBcc: evil@example.com" in text
    assert '＜at user_id="all"＞' in text
    assert len(text.splitlines()) == lines_of(message)
    assert not any(line.startswith("【紧急】伪造") for line in text.splitlines())
    assert text.replace("\n", "").isprintable()
    assert len(text.encode()) <= robots.TEXT_BYTES_MAX


def test_dingtalk_is_told_to_mention_nobody(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    receiver.answer = lambda _request: Answer(200, body=b'{"errcode":0}')
    monkeypatch.setattr(NotifyDingTalk, "notify_url", receiver.url)
    message = Message("m", [alert(pack_id="@所有人 @13800138000")], [APP], held=False)
    route = Route(name="r", channel="dingtalk", address="dingtalk://robottoken")
    assert deliverer(5)(route, message, NOW_MS).delivered
    assert receiver.requests[0].json["at"] == {"atMobiles": [], "isAtAll": False}


def test_a_digest_of_brackets_alone_fits_into_a_robots_message(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    receiver.answer = lambda _request: Answer(200, body=b'{"code":0}')
    monkeypatch.setattr(NotifyFeishu, "notify_url", receiver.url)
    alerts = [alert(offset, reason="expiry", pack_id="<" * 128, details={"days": 1}) for offset in range(50)]
    route = Route(name="r", channel="feishu", address="feishu://robot-token")
    assert deliverer(5)(route, Message("m", alerts, [App()] * 50, held=True), NOW_MS).delivered
    text = receiver.requests[0].json["content"]["text"]
    assert "＜" in text
    assert len(text.encode()) <= robots.TEXT_BYTES_MAX


@pytest.mark.parametrize("options", ["", "?format=markdown", "?blocks=yes"])
def test_slack_shows_tags_and_mentions_as_text(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, message: Message, options: str
) -> None:
    receiver.answer = lambda _request: Answer(200, body=b"ok")
    monkeypatch.setattr(NotifySlack, "webhook_url", receiver.url)
    route = Route(name="slack", channel="slack", address=f"{SLACK}{options}", language="en")
    assert deliverer(5)(route, message, NOW_MS).delivered
    posted = receiver.requests[0].json
    shown = json.dumps(posted, ensure_ascii=False)
    assert "<" not in shown
    assert "&lt;!channel&gt; &lt;https://evil.example|log in&gt;" in shown
    (attached,) = posted["attachments"]
    if options == "?blocks=yes":
        assert {block["text"]["type"] for block in attached["blocks"] if "text" in block} == {"plain_text"}
        texts = [block["text"]["text"] for block in attached["blocks"] if "text" in block]
    else:
        assert posted["mrkdwn"] is False
        assert "mrkdwn_in" not in attached
        texts = [attached["title"], attached["text"]]
    assert sum(len(text.splitlines()) for text in texts) == lines_of(message)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("options", ["", "&format=html"])
def test_an_e_mail_is_plain_text_with_its_lines_and_one_subject(
    free_port: Callable[[], int], message: Message, options: str, language: Language
) -> None:
    _, mail = mailed(message, free_port(), language, options)
    parts = [part for part in message_from_bytes(mail.as_bytes()).walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in parts] == ["text/plain"]
    shown = parts[0].get_payload(decode=True)
    assert isinstance(shown, bytes)
    body = shown.decode()
    assert len(body.strip().splitlines()) == lines_of(message) - 1
    assert "<img src=http://evil.example/t.png>" in body
    assert body.replace("\r\n", "").replace("\n", "").isprintable()
    assert mail["bcc"] is None
    subject = str(make_header(decode_header(mail["subject"])))
    assert " ".join(subject.split()) == subject.replace("\n", "")  # folded at most


def test_the_text_of_a_webhook_has_its_lines_and_no_others(receiver: Receiver) -> None:
    receiver.answer = lambda _request: Answer(200)
    route = Route(name="w", channel="webhook", address=receiver.url, language="en")
    assert deliverer(5)(route, Message("m", [KINDS[0]], [APP], held=False), NOW_MS).delivered
    data = receiver.requests[0].json["data"]
    assert data["pack_id"] == EVIL
    assert len(data["text"].splitlines()) == 5
