"""Readiness probes: does a service listen, does its health page answer. All on loopback."""

import asyncio
import contextlib
import http.client
from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
TIMEOUT_S = 2.0

Probe = Callable[[], Awaitable[bool]]
"""Says whether the service is ready now. Does not raise for a service that is not."""


async def listens(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(HOST, port), TIMEOUT_S)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def http_get(port: int, path: str) -> tuple[int, str]:
    """GET a small page: its status and text. Blocking.

    Raises:
        OSError: nothing answers.
        http.client.HTTPException: what answers is not HTTP.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(65_536).decode(errors="replace")
    finally:
        connection.close()


async def answers(port: int, path: str, *, body: str = "") -> bool:
    """Whether GET `path` answers 200, with a text that starts with `body`."""
    try:
        status, text = await asyncio.to_thread(http_get, port, path)
    except (OSError, http.client.HTTPException):
        return False
    return status == http.client.OK and text.startswith(body)
