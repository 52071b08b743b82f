"""An OAuth 2 token endpoint over TLS that gives unsigned tokens, as the tests' brokers take them."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from tests.brokers.authority import Authority

SECRET: Final = "the client's secret"  # noqa: S105 - of a test


@dataclass
class TokenServer:
    """An endpoint that runs: what it gave, and what it does next.

    Attributes:
        url: its URL.
        given: the tokens, oldest first.
        clients: the client that each was given to.
        ca_file: the CA of its certificate.
        away: answer that nothing works now.
        revoked: give tokens that brokers refuse.
        lifetime_s: the lifetime that is told with a token.
    """

    url: str
    ca_file: Path
    given: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    away: bool = False
    revoked: bool = False
    lifetime_s: float = 3_600


class _HttpServer(ThreadingHTTPServer):
    tokens: TokenServer


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def do_POST(self) -> None:
        """Give the client a token whose subject it is, if it knows the secret."""
        length = int(self.headers["Content-Length"])
        scope = parse_qs(self.rfile.read(length).decode()).get("scope", [""])[0]
        account = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        client, _, secret = account.partition(":")
        tokens = self.server.tokens
        if tokens.away:
            self._answer(503, {"error": "away"})
            return
        if secret != SECRET:
            self._answer(401, {"error": "invalid_client"})
            return
        now_s = int(time.time())
        ends_s = now_s - 3_600 if tokens.revoked else now_s + 3_600
        claims = {"sub": client, "scope": scope, "iat": now_s - 7_200, "exp": ends_s}
        token = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": "none"}, claims | {"jti": len(tokens.given)})
        )
        tokens.given.append(f"{token}.")
        tokens.clients.append(client)
        answer = {"access_token": f"{token}.", "token_type": "Bearer", "expires_in": tokens.lifetime_s}
        self._answer(200, answer)

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
def token_server(authority: Authority) -> Iterator[TokenServer]:
    """An endpoint with a certificate of an authority, that runs within the block."""
    own = authority.issue("token-endpoint")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.certificate, own.key)
    server = _HttpServer(("127.0.0.1", 0), _Endpoint)
    server.tokens = TokenServer(f"https://127.0.0.1:{server.server_port}/token", authority.file)
    # The handshake is left to the thread of the request: a client that refuses it must not stop the server.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.tokens
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
