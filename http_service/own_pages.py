"""The pages of a service about itself, on a port of their own: health and metrics."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metering.health import HEALTH_PATHS, Verdict, health_page

EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"


def own_pages(registry: CollectorRegistry, verdict: Callable[[], Verdict]) -> Starlette:
    """Health at its paths, and the metrics."""

    async def health(request: Request) -> Response:
        answer = health_page(request.url.path, verdict)
        return JSONResponse(answer.document, 200 if answer.ok else 503)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": EXPOSITION})

    return Starlette(
        routes=[*(Route(path, health) for path in HEALTH_PATHS), Route("/metrics", metrics)],
    )
