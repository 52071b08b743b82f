"""Metrics and health of a service over HTTP."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from metering.health import HEALTH_PATHS, Verdict, health_page
from sinks.errors import SinkError

STOP_LOOK_S: Final = 0.05
"""Time between two looks at whether it has to stop, which a service that ends waits for."""


@contextmanager
def serve_metrics(
    registry: CollectorRegistry,
    verdict: Callable[[], Verdict] | None,
    host: str,
    port: int,
    *,
    service: str,
    setting: str,
) -> Iterator[None]:
    """Serve a service's metrics and, given its verdict, health; each request in a thread.

    Raises:
        SinkError: the port is taken; `setting` names where another is set.
    """
    try:
        server = make_server(host, port, _pages(registry, verdict), _server_class(host), _SilentHandler)
    except OSError as error:
        raise SinkError(
            f"port {port} for the {service}'s metrics cannot be opened ({error.strerror}): free it, or set "
            f"{setting}"
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, args=(STOP_LOOK_S,), name=f"phonemeter-{service}-http", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pages(
    registry: CollectorRegistry, verdict: Callable[[], Verdict] | None
) -> Callable[..., Iterable[bytes]]:
    """Build the pages: health at its paths, given a verdict, and the metrics at any other."""
    metrics = make_wsgi_app(registry)

    def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if verdict is None or path not in HEALTH_PATHS:
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        answer = health_page(path, verdict)
        status = HTTPStatus.OK if answer.ok else HTTPStatus.SERVICE_UNAVAILABLE
        start_response(
            f"{status.value} {status.phrase}", [("Content-Type", "application/json; charset=utf-8")]
        )
        return [json.dumps(answer.document, ensure_ascii=False).encode()]

    return page


class _SilentHandler(WSGIRequestHandler):
    """A handler that does not log requests."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature is the library's
        """Write nothing."""


def _server_class(host: str) -> type[WSGIServer]:
    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    return Server
