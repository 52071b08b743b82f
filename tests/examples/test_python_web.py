"""The back ends of examples/python/web, each with its framework's own server, against the real broker."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningKafka
from tests.ports import free_port
from tests.producers.test_client import stored
from tests.waiting import WITHIN_S, blocking_until, is_served
from tools.client.tree import ROOT, write_tree

APP = "wxfb1f3d218d111092"
NUMBER = "13800138000"
WORKERS = ("--workers", "2", "--bind", "127.0.0.1:PORT")
SERVERS = {
    "fastapi": ("uvicorn", "--port", "PORT", "fastapi_app:app"),
    "flask": (
        "gunicorn",
        "--preload",
        "--workers",
        "2",
        "--bind",
        "127.0.0.1:PORT",
        "flask_app:create_app()",
    ),
    "django": ("gunicorn", "--workers", "2", "--bind", "127.0.0.1:PORT", "django_app:application"),
}


class Wechat(http.server.BaseHTTPRequestHandler):
    """WeChat's exchange: `used` is a code that it does not take."""

    def do_POST(self) -> None:
        code = json.loads(self.rfile.read(int(self.headers["content-length"])))["code"]
        info = {"purePhoneNumber": NUMBER, "countryCode": "86", "watermark": {"appid": APP}}
        answer = {"errcode": 40029} if code == "used" else {"errcode": 0, "phone_info": info}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_arguments: object) -> None:
        """Be silent."""


@pytest.fixture(scope="module")
def wechat() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wechat) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("client") / "tree"
    write_tree(tree)
    return tree


def post(url: str, tap: dict[str, object]) -> int:
    headers = {"content-type": "application/json", "openid": "an openid of a user"}
    request = urllib.request.Request(url, json.dumps(tap).encode(), headers)  # noqa: S310 - on loopback
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310 - the same
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("framework", SERVERS)
def test_a_back_end_meters_every_tap_once_and_delivers_before_it_ends(
    framework: str, topics: RunningKafka, wechat: str, client: Path, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    command = [word.replace("PORT", str(port)) for word in SERVERS[framework]]
    environ = {
        **os.environ,
        "PYTHONPATH": f"{client}:{ROOT / 'examples' / 'python' / 'web'}",
        "PHONEMETER_KAFKA": topics.bootstrap,
        "PHONEMETER_CLIENT_GATEWAY_URL": f"http://127.0.0.1:{free_port()}",
        "WECHAT_URL": wechat,
        "WECHAT_APPID": APP,
        "CLIENT_HASH_KEY": "a key of sixteen bytes or more",
    }
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=tmp_path, env=environ, stdout=file, stderr=file
        )
    site = f"http://127.0.0.1:{port}/phone-number"
    try:
        # Nobody knows the route, as the gateway is away: the button is shown.
        blocking_until(lambda: is_served(f"{site}/route?store=store-03"), what=framework)
        statuses = [post(site, {"code": f"code-{number % 15}", "store": "store-03"}) for number in range(20)]
        assert statuses == [200] * 20
        assert post(site, {"code": "used", "component": "getRealtimePhoneNumber"}) == 502
        assert post(site, {"store": "store-03"}) == 422
        assert post(f"{site}/outcome", {"errno": 1400001, "tap": "tap-1"}) == 204
        assert post(f"{site}/outcome", {"tap": "tap-2"}) == 204
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(WITHIN_S)
    values = [json.loads(value) for records in stored(topics.bootstrap).values() for _, value in records]
    types = sorted(value["type"].removeprefix("phone.authorization.") for value in values)
    assert types == ["denied", "failed", *["succeeded"] * 21], log.read_text()
    succeeded = {value["id"] for value in values if value["type"].endswith("succeeded")}
    assert len(succeeded) == 16
    assert NUMBER not in log.read_text() + json.dumps(values)
