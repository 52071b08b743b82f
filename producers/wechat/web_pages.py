"""Web servers of the service on asyncio: metrics and health, and the receiver of pushes."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry, generate_latest

from metering.health import HEALTH_PATHS, Verdict, health_page
from producers.wechat.errors import WechatPortError

EXPOSITION: str = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger(__name__)


def _is_ours(record: logging.LogRecord) -> bool:
    """False for a request that aiohttp cannot read."""
    # Anybody may send one, and what is repeated of it may hold an openid.
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


log.addFilter(_is_ours)


def pages(registry: CollectorRegistry, verdict: Callable[[], Verdict]) -> web.Application:
    """Health at its paths, and the metrics."""

    async def health(request: web.Request) -> web.Response:
        answer = health_page(request.path, verdict)
        return web.json_response(answer.document, status=200 if answer.ok else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"content-type": EXPOSITION})

    application = web.Application()
    for path in HEALTH_PATHS:
        application.router.add_get(path, health)
    application.router.add_get("/metrics", metrics)
    return application


@asynccontextmanager
async def served(application: web.Application, host: str, port: int, setting: str) -> AsyncIterator[None]:
    """Serve an application in the block. Requests are not logged: their addresses are signed.

    Raises:
        WechatPortError: the port is taken; `setting` names where another is set.
    """
    runner = web.AppRunner(application, access_log=None, logger=log, shutdown_timeout=5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise WechatPortError(
                f"Port {port} cannot be opened on {host} ({error.strerror}): free it, or set {setting} to a "
                f"free port."
            ) from None
        yield
    finally:
        await runner.cleanup()
