"""The HTTP server: uvicorn, which serves with our connections until the service ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from http_service.direct_answers import DirectAnswer
from http_service.errors import ServicePortError
from http_service.http_connection import BoundedConnection
from http_service.server_end import TellsItsEnd

KEEP_ALIVE_S: Final = 75
"""Time for which a connection may rest: longer than the 60 s of usual proxies, which must close it first."""

END_S: Final = 4
"""Time for the requests that are under way when the server is to end."""

BACKLOG: Final = 1_024


class _Server(uvicorn.Server):
    """A server that leaves signals to the service, of which it is a part."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(
    application: ASGIApp,
    host: str,
    port: int,
    setting: str,
    head_s: float,
    direct: DirectAnswer | None = None,
) -> AsyncIterator[None]:
    """Serve an application in the block; `direct` answers what it can before the application is asked.

    Raises:
        ServicePortError: the port is taken; `setting` names where another is set.
    """
    listener = _listener(host, port, setting)
    connection = {"head_s": head_s, "direct": None if direct is None else staticmethod(direct)}
    options: dict[str, Any] = {
        "http": type("Connection", (BoundedConnection,), connection),
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": END_S,
    }
    ending = asyncio.Event()
    server = _Server(uvicorn.Config(TellsItsEnd(application, ending), **options))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await server.listening.wait()
        yield
    finally:
        ending.set()
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving


def _listener(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio switches Nagle's algorithm off only where the protocol says TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServicePortError(
            f"Port {port} cannot be opened on {host} ({error.strerror}): free it, or set {setting} to a free "
            f"port."
        ) from None
    return listener
