import contextlib
import socket
import threading
import time
from email.utils import formatdate

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from metering.times import parse_time
from sinks.notifier import http, webhook
from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.routes import App, Route
from tests.sinks.notifier.parts import HOST, SECRET, Answer, Receiver, alert, has_signature

OTHER = "whsec_b3RoZXIgc2VjcmV0IG9mIDI0IGJ5dGVzIQ=="
NAME = App(name="会员中心", owner="east")


def route_to(url: str, *secrets: str) -> Route:
    return Route(name="hook", channel="webhook", address=url, secrets=secrets or (SECRET,))


def send(route: Route, timeout_s: float = 5) -> AttemptOutcome:
    body = webhook.body_of([alert()], [NAME], route, held=False)
    return webhook.send(route, "alert_0-7-0_hook", body, timeout_s, time.time_ns() // 1_000_000)


def test_a_delivery_carries_a_signature_that_others_verify(receiver: Receiver) -> None:
    assert send(route_to(receiver.url)) == AttemptOutcome(delivered=True, reason="answered 204")
    (request,) = receiver.requests
    assert request.id == "alert_0-7-0_hook"
    assert has_signature(request, SECRET)
    assert not has_signature(request, OTHER)
    assert not has_signature(request._replace(body=request.body + b" "), SECRET)
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == request.json
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(request.body, dict(request.headers))


def test_while_secrets_change_both_are_good(receiver: Receiver) -> None:
    send(route_to(receiver.url, OTHER, SECRET))
    (request,) = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (OTHER, SECRET):
        assert has_signature(request, secret)
        Webhook(secret).verify(request.body, dict(request.headers))


def test_the_body_says_what_an_owner_needs(receiver: Receiver) -> None:
    send(route_to(receiver.url))
    body = receiver.requests[0].json
    assert (body["type"], body["timestamp"]) == ("phone.alert.raised", "2026-10-17T10:05:03.120Z")
    data = body["data"]
    assert (data["id"], data["app_name"], data["severity"]) == ("0-7-0", "会员中心", "warning")
    assert (data["reason"], data["remaining"], data["details"]["level_percent"]) == ("level", 100, 10)
    assert data["text"].startswith("【预警】会员中心 (wxfb1f3d218d111092) 手机号快速验证\n")


def test_alerts_that_were_held_are_one_message(receiver: Receiver) -> None:
    route = route_to(receiver.url)
    body = webhook.body_of([alert(1), alert(2, kind="recovery")], [NAME, NAME], route, held=True)
    webhook.send(route, "digest", body, 5, 0)
    sent = receiver.requests[0].json
    assert sent["type"] == "phone.alerts.digest"
    assert [one["id"] for one in sent["data"]["alerts"]] == ["0-1-0", "0-2-0"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, body=b"thanks"), AttemptOutcome(delivered=True, reason="answered 200")),
        (Answer(500), AttemptOutcome(delivered=False, reason="answered 500")),
        (Answer(410), AttemptOutcome(delivered=False, reason="answered 410", gone=True)),
        (
            Answer(429, {"retry-after": "120"}),
            AttemptOutcome(delivered=False, reason="answered 429", retry_after_ms=120_000),
        ),
    ],
)
def test_an_answer_decides_the_outcome(receiver: Receiver, answer: Answer, outcome: AttemptOutcome) -> None:
    receiver.answer = lambda _request: answer
    assert send(route_to(receiver.url)) == outcome


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda _request: Answer(307, {"location": f"{receiver.url}/elsewhere"})
    outcome = send(route_to(receiver.url))
    assert not outcome.delivered
    assert outcome.reason.startswith("answered 307; redirects are not followed")
    assert [request.path for request in receiver.requests] == ["/hook"]


def test_a_receiver_that_hangs_is_abandoned_after_the_time(receiver: Receiver) -> None:
    receiver.answer = lambda _request: None
    began_s = time.monotonic()
    assert send(route_to(receiver.url), timeout_s=0.3).reason == "no answer within 0.3 s"
    assert time.monotonic() - began_s < 5


def test_little_is_read_of_an_answer(receiver: Receiver) -> None:
    receiver.answer = lambda _request: Answer(200, body=b"x" * 10_000_000)
    answer = http.post(receiver.url, b"{}", {}, 5)
    assert len(answer.text) == http.ANSWER_BYTES_MAX


def test_an_answer_without_end_is_read_no_further_than_its_beginning() -> None:
    def answer_without_end() -> None:
        connection, _ = listening.accept()
        # The reader hangs up when it has enough.
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(b"x" * 65_536)

    with socket.create_server((HOST, 0)) as listening:
        answering = threading.Thread(target=answer_without_end)
        answering.start()
        answer = http.post(f"http://{HOST}:{listening.getsockname()[1]}/hook", b"{}", {}, 5)
        answering.join(5)
    assert answer == http.Answer(200, "x" * http.ANSWER_BYTES_MAX, "")
    assert not answering.is_alive()


def test_a_receiver_that_is_not_there_is_reported_without_the_address() -> None:
    with socket.socket() as closed:
        closed.bind((HOST, 0))
        port = closed.getsockname()[1]
    outcome = send(route_to(f"http://{HOST}:{port}/token-hunter2"))
    assert outcome == AttemptOutcome(delivered=False, reason="no connection: Connection refused") or (
        not outcome.delivered and "hunter2" not in outcome.reason and "connection" in outcome.reason
    )


def test_a_pause_is_asked_for_in_seconds_or_as_a_date() -> None:
    now_ms = parse_time("2026-10-17T10:00:00Z")
    assert http.retry_after_ms("30", now_ms) == 30_000
    assert http.retry_after_ms("Sat, 17 Oct 2026 10:01:00 GMT", now_ms) == 60_000
    assert http.retry_after_ms(formatdate(0, usegmt=True), now_ms) == 0
    assert http.retry_after_ms("soon", now_ms) is None
    assert http.retry_after_ms("", now_ms) is None
