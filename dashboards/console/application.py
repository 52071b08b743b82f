"""The web application of the console: its pages, guarded, and the files that they name."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.metrics import Metrics
from dashboards.console.page_guard import ConsolePage, PageGuard
from dashboards.console.problems import PROBLEMS, ConsoleProblem, ProblemName, problem_of
from dashboards.console.security_headers import SecurityHeaders
from dashboards.console.sessions import SessionStore
from dashboards.console.settings import ConsoleSettings
from dashboards.console.templating import FOLDERS
from dashboards.console.visit import NotSignedInError, Visit
from http_service.request_log import RequestLog, RequestRecords

access_log = logging.getLogger("phonemeter.console.access")

KEPT: Final = "public, max-age=31536000, immutable"
"""Files are named with a digest of their content, so that a browser may keep them."""

SIGN_IN: Final = "/sign-in"


def application(
    settings: ConsoleSettings,
    sessions: SessionStore,
    metrics: Metrics,
    pages: Sequence[ConsolePage],
    endpoints: Sequence[Route] = (),
) -> ASGIApp:
    """The application that browsers talk to; at its endpoints, programs that prove themselves otherwise."""
    guard = PageGuard(sessions, settings.console_origin, metrics, pages)
    answers = _Answers(guard)
    web = Starlette(
        routes=[
            *(guard.route(page) for page in (ConsolePage("/", _home), *pages)),
            *endpoints,
            *(Mount(f"/{folder}", _KeptFiles(folder)) for folder in FOLDERS),
        ],
        middleware=[
            Middleware(
                RequestLog,
                records=RequestRecords(
                    access_log if settings.console_access_log else None, metrics.requests, ("member",)
                ),
            ),
        ],
        exception_handlers={
            NotSignedInError: answers.sign_in,
            ConsoleProblem: answers.problem,
            HTTPException: answers.refused,
            RecordsUnavailableError: answers.unavailable,
            Exception: answers.failed,
        },
    )
    web.router.redirect_slashes = False
    # Around it all: the answer to a mistake of ours is made outside of the framework's own middleware.
    return SecurityHeaders(web, over_tls=settings.console_origin.startswith("https:"))


async def _home(visit: Visit) -> Response:
    """The first page of the navigation that the member may see."""
    return visit.redirect(next((entry.path for entry in visit.navigation), "/account"))


class _KeptFiles(StaticFiles):
    """Files of a folder, which browsers keep if they ask by the address that pages have."""

    def __init__(self, folder: str) -> None:
        super().__init__(directory=Path(str(files("dashboards.console"))) / folder, check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file at a path."""
        answer = await super().get_response(path, scope)
        named = bool(scope["query_string"]) and answer.status_code in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}
        answer.headers["cache-control"] = KEPT if named else "no-cache"
        return answer


class _Answers:
    """The answers to what pages raise."""

    def __init__(self, guard: PageGuard) -> None:
        self._guard = guard

    async def sign_in(self, request: Request, _error: Exception) -> Response:
        """To the page of signing in, and afterwards to where the visitor wanted."""
        request.state.answer = "sign_in"
        if request.method != "GET" or request.url.path == "/":
            return RedirectResponse(SIGN_IN, 303)
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='')}", 303)

    async def problem(self, request: Request, error: Exception) -> Response:
        """A problem that a page has found."""
        return self._page(request, error.name if isinstance(error, ConsoleProblem) else "failed")

    async def refused(self, request: Request, error: Exception) -> Response:
        """A refusal by the framework, in our form."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        answer = self._page(request, problem_of(status))
        answer.headers.update(getattr(error, "headers", None) or {})
        return answer

    async def unavailable(self, request: Request, _error: Exception) -> Response:
        """A database is away."""
        return self._page(request, "unavailable")

    async def failed(self, request: Request, _error: Exception) -> Response:
        """A mistake of ours."""
        return self._page(request, "failed")

    def _page(self, request: Request, name: ProblemName) -> Response:
        request.state.answer = name
        told = PROBLEMS[name]
        values = {
            "title": told.title,
            "advice": told.advice,
            "request_id": request.state.request_id,
        }
        return self._guard.visit(request).page("problem.html", values, told.status)
