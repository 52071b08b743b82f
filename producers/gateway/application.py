"""The web application: events in, the endpoints of other parts, and the description of them all."""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from http_service.request_log import RequestLog, RequestRecords
from metering.http_endpoints import HttpPart
from producers.gateway import description_pages
from producers.gateway.direct_paths import DirectPaths
from producers.gateway.events_endpoint import EventsEndpoint
from producers.gateway.guard import Guard
from producers.gateway.metrics import Metrics
from producers.gateway.problems import RequestProblem, of_status

log = logging.getLogger(__name__)
access_log = logging.getLogger("phonemeter.gateway.access")

PREFLIGHT_S: Final = 600


class PublicSite(NamedTuple):
    """The application that clients talk to, and what answers before it."""

    web: Starlette
    direct: DirectPaths


def public_site(
    endpoint: EventsEndpoint,
    metrics: Metrics,
    cors_origins: Sequence[str],
    guard: Guard,
    *,
    logged: bool,
    parts: Sequence[HttpPart] = (),
) -> PublicSite:
    """The site for clients; `guard` stands before the endpoints of parts."""
    records = RequestRecords(access_log if logged else None, metrics.requests, ("key", "events"))
    middleware = [Middleware(RequestLog, records=records)]
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
    endpoints = [one for part in parts for one in part.endpoints]
    web = Starlette(
        routes=[
            Route("/v1/events", endpoint.handle, methods=["POST"]),
            *map(guard.route, endpoints),
            *description_pages.routes(parts),
        ],
        middleware=middleware,
        exception_handlers={RequestProblem: _problem, HTTPException: _refused, Exception: _failed},
    )
    # A redirect would send the key to whatever the header Host says, without TLS.
    web.router.redirect_slashes = False
    return PublicSite(web, DirectPaths(endpoints, guard, records, _refused_directly))


async def _problem(request: Request, error: Exception) -> Response:
    return _response(request, error if isinstance(error, RequestProblem) else of_status(500))


async def _refused(request: Request, error: Exception) -> Response:
    return _response(request, _in_our_form(error))


async def _failed(request: Request, _error: Exception) -> Response:
    return _response(request, _failure())


def _refused_directly(request: Request, error: Exception) -> Response:
    """The same where the framework does not tell them apart, and log what the server would."""
    if isinstance(error, RequestProblem):
        return _response(request, error)
    if isinstance(error, HTTPException):
        return _response(request, _in_our_form(error))
    log.error("An endpoint has failed.", exc_info=error)
    return _response(request, _failure())


def _in_our_form(error: Exception) -> RequestProblem:
    """A refusal by the framework or a handler as a problem."""
    known = error if isinstance(error, HTTPException) else HTTPException(500)
    problem = of_status(known.status_code, known.detail)
    problem.headers.update(getattr(error, "headers", None) or {})
    return problem


def _failure() -> RequestProblem:
    detail = "The gateway failed; send the same request again, and report the request id."
    return RequestProblem("failed", detail, {"retry-after": "2"})


def _response(request: Request, problem: RequestProblem) -> Response:
    request.state.answer = problem.name
    return problem.response()
