"""Shared parts of the notifier's tests: a receiver, alerts, the notifier as a process.

To run the notifier in a test of something else: `with Receiver() as receiver`, a routes file by
`webhook_routes(path, receiver.url)`, and `with NotifierProcess(kafka, routes, port, log)`;
`receiver.verified()` returns the bodies that arrived, and `receiver.alert_ids()` the alerts in them.
Signatures are checked by `has_signature` here, independently of the product.
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MailHandler
from kafka import KafkaProducer

from kafka_access.access import KafkaAccess
from metering.alerts import Alert
from metering.topics import ALERTS, NOTIFIER_GROUP
from phonemeter.kafka_admin import admin
from sinks.notifier.recipients import ReadRecipients
from sinks.notifier.service import run
from sinks.notifier.settings import NotifierSettings
from tests.groups import remove_members
from tests.waiting import WITHIN_S

HOST = "127.0.0.1"
APP = "wxfb1f3d218d111092"
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()
SECRET_VARIABLE = "TEST_HOOK_SECRET"  # noqa: S105 - the name of a variable
TIMEOUT_S = "20"
"""The notifier's patience with the receiver: what that accepts too late, on a busy machine, comes again."""


class Request(NamedTuple):
    """A request to the receiver. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the body is
        return json.loads(self.body)


class Answer(NamedTuple):
    """The receiver's answer; None instead of one means no answer until the test ends."""

    status: int = 204
    headers: Mapping[str, str] = {}
    body: bytes = b""


Answering = Callable[[Request], Answer | None]


class Receiver:
    """An HTTP server on loopback. `answer` may be changed at any time."""

    def __init__(self, answer: Answering = lambda _request: Answer()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, self.rfile.read(length))
                receiver.requests.append(request)
                answer = receiver.answer(request)
                if answer is None:
                    receiver.over.wait(30)
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_arguments: object) -> None:
                """Ignore that a notifier was killed, or hung up after its timeout."""

        self._server = Server((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}/hook"

    def verified(self, secret: str = SECRET) -> list[Any]:
        """The bodies that arrived, each with a right signature."""
        assert all(has_signature(request, secret) for request in self.requests)
        return [request.json for request in self.requests]

    def alert_ids(self) -> list[str]:
        """Ids of the alerts that arrived, in messages of their own or together, with every repetition."""
        found = []
        for body in self.verified():
            alerts = body["data"].get("alerts", [body["data"]])
            found += [alert["id"] for alert in alerts]
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def has_signature(request: Request, secret: str) -> bool:
    """Return whether one of the signatures is by the secret, by the Standard Webhooks specification."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = request.headers["webhook-timestamp"]
    content = b".".join((request.id.encode(), stamp.encode(), request.body))
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = request.headers["webhook-signature"].split(" ")
    return any(hmac.compare_digest(f"v1,{expected}", one) for one in given)


class SetClock:
    """A clock of the notifier that goes on by itself, from the time to which a test sets it."""

    def __init__(self, at_ms: int) -> None:
        self.set_to(at_ms)

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def set_to(self, at_ms: int) -> None:
        self._ahead_ms = at_ms - time.time_ns() // 1_000_000


class Mailbox(MailHandler):
    """The mails that a mail server took; its `address` lacks the receiver."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.mails: list[Mail] = []

    def handle_message(self, message: Mail) -> None:
        self.mails.append(message_from_bytes(message.as_bytes()))

    def receivers(self) -> list[str]:
        """The addressees of the mails, in order."""
        return [str(mail["X-RcptTo"]) for mail in self.mails]


@contextmanager
def mail_server(port: int) -> Iterator[Mailbox]:
    """A mail server on loopback in the block."""
    mailbox = Mailbox(f"mailto://{HOST}:{port}?from=phonemeter@example.com")
    server = Controller(mailbox, hostname=HOST, port=port)
    server.start()
    try:
        yield mailbox
    finally:
        server.stop()


def alert(offset: int = 7, *, partition: int = 0, line: int = 0, **changes: Any) -> Alert:  # noqa: ANN401 - fields of an alert
    """An alert of the level of 10 %, with changes."""
    given: dict[str, Any] = {
        "id": f"{partition}-{offset}-{line}",
        "kind": "alert",
        "appid": APP,
        "capability": "quick",
        "reason": "level",
        "time": "2026-10-17T10:05:03.120Z",
        "remaining": 100,
        "pack_id": "",
        "details": {"level_percent": 10, "size": 1_000},
        "recorded_at": "2026-10-17T10:05:04.000Z",
        **changes,
    }
    return Alert(**given)


def publish(kafka: str, alerts: Iterable[Alert], *, at_ms: int | None = None) -> None:
    """Publish alerts as the worker does, each in the partition of its id."""
    producer = KafkaProducer(bootstrap_servers=kafka)
    for one in alerts:
        partition = int(one.id.split("-")[0])
        producer.send(ALERTS, msgspec.json.encode(one), one.appid.encode(), None, partition, at_ms)
    producer.flush()
    producer.close()


def webhook_routes(path: Path, url: str, name: str = "hook", more: str = "") -> Path:
    """Write a routes file with one webhook without filters; its secret is in SECRET_VARIABLE."""
    path.write_text(
        f'[routes.{name}]\nchannel = "webhook"\nurl = "{url}"\nsecrets = ["env:{SECRET_VARIABLE}"]\n{more}',
        encoding="utf-8",
    )
    return path


@dataclass
class NotifierProcess:
    """The notifier as a process. `die` is a step and an alert: there it kills itself."""

    kafka: str
    routes: Path
    port: int
    log: Path
    die: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> Self:
        settings = {
            "KAFKA": self.kafka,
            "ALERT_ROUTES": str(self.routes),
            "NOTIFIER_PORT": str(self.port),
            "NOTIFIER_TIMEOUT_S": TIMEOUT_S,
            "NOTIFIER_RETRY_FIRST_MS": "200",
            **self.settings,
        }
        environ = {f"PHONEMETER_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "tests.sinks.notifier.run_notifier", *self.die]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, SECRET_VARIABLE: SECRET, **environ}, stdout=log, stderr=log
            )
        return self

    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            # Not killed, so that the next one does not wait for a dead member.
            self.process.terminate()
            try:
                self.process.wait(timeout=WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()


def forget_members(kafka: str) -> None:
    """Remove members that were killed, so that the group does not wait for them."""
    with admin(KafkaAccess(kafka)) as client:
        remove_members(client, NOTIFIER_GROUP)


@contextmanager
def notifier_thread(
    monkeypatch: pytest.MonkeyPatch,
    kafka: str,
    routes: Path | None,
    port: int,
    read_recipients: ReadRecipients | None = None,
    now_ms: Callable[[], int] | None = None,
    **settings: str,
) -> Iterator[None]:
    """The notifier as a thread: it starts faster than a process, and can't be killed."""
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    stop = threading.Event()
    given = {"notifier_timeout_s": TIMEOUT_S, "notifier_retry_first_ms": "200", **settings}
    notifier_settings = NotifierSettings.model_validate(
        {"kafka": kafka, "alert_routes": routes, "notifier_port": port, **given}
    )
    further = {"read_recipients": read_recipients, **({"now_ms": now_ms} if now_ms else {})}
    thread = threading.Thread(target=run, args=(notifier_settings, stop), kwargs=further, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(WITHIN_S)
        assert not thread.is_alive()
