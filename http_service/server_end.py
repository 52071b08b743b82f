"""The end of a server, told to the answers that go on until then: it waits for those that are under way."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_KEY: Final = "phonemeter.ending"


class TellsItsEnd:
    """Middleware around an application: each request can be asked whether the server is to end."""

    def __init__(self, application: ASGIApp, ending: asyncio.Event) -> None:
        self._application = application
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[_KEY] = self._ending
        await self._application(scope, receive, send)


def ending_of(scope: Scope) -> asyncio.Event:
    """The event that is set when the server of a request is to end; never, if it does not tell."""
    ending = scope.get(_KEY)
    return ending if isinstance(ending, asyncio.Event) else asyncio.Event()
