"""Blocking work that nobody waits for at the end of the service."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

T = TypeVar("T")


async def in_daemon(function: Callable[[], T]) -> T:
    """Call a blocking function in a thread of its own, which the end of the process does not wait for.

    asyncio's own threads are waited for, however long a broker that is away takes to time out.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, failure: Exception | None) -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(cast("T", result))
        else:
            future.set_exception(failure)

    def call() -> None:
        result, failure = None, None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=call, daemon=True).start()
    return await future
