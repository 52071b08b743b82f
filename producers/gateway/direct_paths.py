"""The short way to endpoints that are asked very often: past the framework's routing, not past the guard.

The framework compares a path with every route and wraps the handler four times, which takes longer than such
an endpoint itself. Whatever does not fit exactly goes the usual way.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from metering.http_endpoints import Endpoint
from producers.gateway.guard import APP, Guard
from producers.gateway.problems import RequestProblem

Handler = Callable[[Request], Awaitable[Response]]
Refusing = Callable[[Request, Exception], Awaitable[Response]]

PARAMETER: Final = f"{{{APP}}}"


class _DirectPath(NamedTuple):
    """A path whose only parameter is the app, cut at that."""

    method: str
    before: str
    after: str
    handler: Handler


class DirectPaths:
    """Middleware inside that of the log, around everything else.

    Args:
        application: what answers all other requests.
        endpoints: those that are `direct`.
        guard: of them.
        refusing: makes the answer to a request that is refused.
    """

    def __init__(
        self, application: ASGIApp, endpoints: Sequence[Endpoint], guard: Guard, refusing: Refusing
    ) -> None:
        self._application = application
        self._refusing = refusing
        self._paths = [_direct(one, guard.guarded(one)) for one in endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            path = scope["path"]
            for one in self._paths:
                if path.startswith(one.before) and path.endswith(one.after) and scope["method"] == one.method:
                    appid = path[len(one.before) : -len(one.after)]
                    if appid and "/" not in appid:
                        scope["path_params"] = {APP: appid}
                        await self._answer(one.handler, scope, receive, send)
                        return
        await self._application(scope, receive, send)

    async def _answer(self, handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except (RequestProblem, HTTPException) as error:
            response = await self._refusing(request, error)
        await response(scope, receive, send)


def _direct(endpoint: Endpoint, handler: Handler) -> _DirectPath:
    before, _, after = endpoint.path.partition(PARAMETER)
    return _DirectPath(endpoint.method, before, after, handler)
