"""An OAuth 2 token endpoint that gives unsigned tokens, as the tests' brokers take them."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs

SECRET: Final = "the client's secret"  # noqa: S105 - of a test


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Give the client a token whose subject it is, if it knows the secret."""
        length = int(self.headers["Content-Length"])
        scope = parse_qs(self.rfile.read(length).decode()).get("scope", [""])[0]
        account = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        client, _, secret = account.partition(":")
        if secret != SECRET:
            self._answer(401, {"error": "invalid_client"})
            return
        now_s = int(time.time())
        claims = {"sub": client, "scope": scope, "iat": now_s, "exp": now_s + 3_600}
        token = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": "none"}, claims)
        )
        self._answer(200, {"access_token": f"{token}.", "token_type": "Bearer", "expires_in": 3_600})

    def _answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def token_endpoint() -> Iterator[str]:
    """The URL of an endpoint that runs within the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
