"""The guard of endpoints that are not the gateway's own: nobody reaches them without a key for it."""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metering.event_validation import is_appid
from metering.http_endpoints import Endpoint, app_not_found
from producers.gateway.api_keys import ApiKey
from producers.gateway.doubled_headers import refuse_doubled_headers
from producers.gateway.key_ring import KeyRing
from producers.gateway.problems import RequestProblem
from producers.gateway.rate_limits import RateLimits

APP: Final = "appid"


class Guard:
    """The check of key, scope, app and rate before a handler is called."""

    def __init__(self, keys: KeyRing, rates: RateLimits) -> None:
        self._keys = keys
        self._rates = rates

    def route(self, endpoint: Endpoint) -> Route:
        """The route to an endpoint, guarded."""
        return Route(endpoint.path, self.guarded(endpoint), methods=[endpoint.method])

    def guarded(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """The handler of an endpoint, guarded."""

        async def handle(request: Request) -> Response:
            refuse_doubled_headers(request)
            key = await self._keys.opened_now_by(_authorization(request), endpoint.scopes)
            self._admit(key, request, request.path_params.get(APP))
            answer = endpoint.handler(request)
            return response_of(endpoint, answer if endpoint.is_direct else await answer)

        return handle

    def admit(self, endpoint: Endpoint, request: Request, appid: str) -> None:
        """Let a request through to an endpoint, by the keys as last read.

        Raises:
            UnknownKeyProblem: the key may have been issued since.
            RequestProblem: it may not go there.
        """
        refuse_doubled_headers(request)
        self._admit(self._keys.opened_by(_authorization(request), endpoint.scopes), request, appid)

    def _admit(self, key: ApiKey, request: Request, appid: str | None) -> None:
        request.state.key, request.state.apps = key.prefix, key.apps
        self._rates.take(key, 1)
        if appid is not None and not (is_appid(appid) and key.covers(appid)):
            # The same as of an app that is not there: which apps others have is nobody's business.
            raise RequestProblem("not_found", app_not_found(appid))


def _authorization(request: Request) -> str:
    return request.headers.get("authorization", "")


def response_of(endpoint: Endpoint, answer: object) -> Response:
    """The response that a handler returned.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(answer, Response):
        raise TypeError(f"{endpoint.path} returned no response")
    return answer
