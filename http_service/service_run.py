"""The run of a service: its sites are served and its work is done until a signal asks for the end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from http_service.direct_answers import DirectAnswer
from http_service.http_server import served
from http_service.service_stop import stopping_event


class Site(NamedTuple):
    """An application on a port; `setting` names where another port is set, `direct` answers before it."""

    application: ASGIApp
    host: str
    port: int
    setting: str
    direct: DirectAnswer | None = None


async def serve_until_stopped(
    sites: Sequence[Site],
    work: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    *,
    head_s: float,
    log: logging.Logger,
    begun: str,
) -> None:
    """Serve and work; the log tells `begun` once every site is served.

    Raises:
        ServicePortError: a port can't be opened.
    """
    stopping = stopping_event(log)
    tasks: list[asyncio.Task[None]] = []
    try:
        async with AsyncExitStack() as serving:
            for site in sites:
                await serving.enter_async_context(served(*site[:-1], head_s, site.direct))
            tasks += [asyncio.create_task(one()) for one in work]
            log.info("%s", begun)
            waiting = asyncio.create_task(stopping.wait())
            # Only a failure ends one of the others: then the service ends too, and is started again.
            await asyncio.wait((*tasks, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
    finally:
        for one in tasks:
            one.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
