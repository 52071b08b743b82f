"""The web application: events in, the endpoints of other parts, and the description of them all."""

import logging
from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from http_service.request_log import RequestLog
from metering.http_endpoints import HttpPart
from producers.gateway import description_pages
from producers.gateway.direct_paths import DirectPaths
from producers.gateway.events_endpoint import EventsEndpoint
from producers.gateway.guard import Guard
from producers.gateway.metrics import Metrics
from producers.gateway.problems import RequestProblem, of_status

access_log = logging.getLogger("phonemeter.gateway.access")

PREFLIGHT_S: Final = 600


def application(
    endpoint: EventsEndpoint,
    metrics: Metrics,
    cors_origins: Sequence[str],
    guard: Guard,
    *,
    logged: bool,
    parts: Sequence[HttpPart] = (),
) -> Starlette:
    """The application that clients talk to; `guard` stands before the endpoints of parts."""
    middleware = [
        Middleware(
            RequestLog,
            log=access_log if logged else None,
            requests=metrics.requests,
            told=("key", "events"),
        )
    ]
    if cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(cors_origins),
                allow_methods=["POST", "GET", "PUT", "DELETE"],
                allow_headers=[
                    "authorization",
                    "content-type",
                    "idempotency-key",
                    "if-none-match",
                    "x-request-id",
                ],
                expose_headers=["retry-after", "x-request-id", "idempotent-replayed", "etag"],
                max_age=PREFLIGHT_S,
            )
        )
    direct = [one for part in parts for one in part.endpoints if one.is_direct]
    if direct:
        middleware.append(Middleware(DirectPaths, endpoints=direct, guard=guard, refusing=_refused_directly))
    web = Starlette(
        routes=[
            Route("/v1/events", endpoint.handle, methods=["POST"]),
            *(guard.route(one) for part in parts for one in part.endpoints),
            *description_pages.routes(parts),
        ],
        middleware=middleware,
        exception_handlers={RequestProblem: _problem, HTTPException: _refused, Exception: _failed},
    )
    # A redirect would send the key to whatever the header Host says, without TLS.
    web.router.redirect_slashes = False
    return web


async def _problem(request: Request, error: Exception) -> Response:
    problem = error if isinstance(error, RequestProblem) else of_status(500)
    request.state.answer = problem.name
    return problem.response()


async def _refused(request: Request, error: Exception) -> Response:
    """A refusal by the framework, in our form."""
    known = error if isinstance(error, HTTPException) else HTTPException(500)
    problem = of_status(known.status_code, known.detail)
    problem.headers.update(getattr(error, "headers", None) or {})
    return await _problem(request, problem)


async def _refused_directly(request: Request, error: Exception) -> Response:
    """The same where the framework does not tell the two apart."""
    return await (_problem if isinstance(error, RequestProblem) else _refused)(request, error)


async def _failed(request: Request, _error: Exception) -> Response:
    detail = "The gateway failed; send the same request again, and report the request id."
    return await _problem(request, RequestProblem("failed", detail, {"retry-after": "2"}))
