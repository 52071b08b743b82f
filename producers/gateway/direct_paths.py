"""The short way to endpoints that are asked very often: past the framework's routing, not past the guard.

The server makes a task of each request, and the framework compares its path with every route and wraps the
handler four times, which takes longer than such an endpoint itself. Whatever does not fit exactly goes the
usual way.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from http_service.request_log import HEADER_NAME, RequestRecords
from metering.http_endpoints import Endpoint
from producers.gateway.guard import APP, Guard, response_of
from producers.gateway.key_ring import UnknownKeyProblem

Refusing = Callable[[Request, Exception], Response]

PARAMETER: Final = f"{{{APP}}}"
USUAL: Final = b"origin"
"""The header of browsers: what is answered to other sites is added on the usual way."""


class _DirectPath(NamedTuple):
    """A path whose only parameter is the app, cut at that."""

    endpoint: Endpoint
    before: str
    after: str


class DirectPaths:
    """The direct endpoints of an application.

    Args:
        endpoints: those that are `direct`.
        guard: of them.
        records: of requests.
        refusing: makes the answer to a request that is refused.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], guard: Guard, records: RequestRecords, refusing: Refusing
    ) -> None:
        self._guard = guard
        self._records = records
        self._refusing = refusing
        self._paths = [_DirectPath(one, *one.path.split(PARAMETER)) for one in endpoints if one.is_direct]

    def __call__(self, scope: Scope) -> Response | None:
        """Answer a request without a body, if it is for a direct endpoint; None for the usual way."""
        path: str = scope["path"]
        for one in self._paths:
            if (
                path.startswith(one.before)
                and path.endswith(one.after)
                and scope["method"] == one.endpoint.method
            ):
                appid = path[len(one.before) : -len(one.after)]
                if appid and "/" not in appid and not any(name == USUAL for name, _ in scope["headers"]):
                    return self._answer(one.endpoint, appid, scope)
        return None

    def _answer(self, endpoint: Endpoint, appid: str, scope: Scope) -> Response | None:
        began_s = time.monotonic()
        request_id = self._records.begin(scope)
        scope["path_params"] = {APP: appid}
        request = Request(scope)
        try:
            self._guard.admit(endpoint, request, appid)
            response = response_of(endpoint, endpoint.handler(request))
        except UnknownKeyProblem:
            return None
        except Exception as error:  # noqa: BLE001 - the connection has nobody else to hand it to
            response = self._refusing(request, error)
        response.headers[HEADER_NAME] = request_id
        self._records.end(scope, response.status_code, began_s)
        return response
