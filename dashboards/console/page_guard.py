"""The guard of pages: nobody reaches one without a session for it, and no form counts but a page's own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.form_guard import Form, read_form, refuse_other_sessions, refuse_other_sites
from dashboards.console.metrics import Metrics
from dashboards.console.problems import ConsoleProblem
from dashboards.console.roles import Permission
from dashboards.console.sessions import OpenSession, SessionStore, cookie_name, token_digest
from dashboards.console.visit import NavigationEntry, NotSignedInError, Visit

TOKEN_CHARACTERS_MAX: Final = 128
FORM_S: Final = 10.0
"""Time for the body of a form."""

APP: Final = "appid"


class ConsolePage(NamedTuple):
    """A page, or what a form is sent to.

    Attributes:
        path: with its parameters in braces; an `{appid}` is only reached by who sees this app.
        handler: takes a visit and returns an answer.
        permission: which members may use it; None for everyone, signed in or not.
        method: of HTTP. A form needs POST, and `form_token` in it.
        title: in the navigation, in English and marked for translation; empty to leave it out.
        is_use: False for what pages ask for by themselves: a session that nobody uses has to end.
    """

    path: str
    handler: Callable[[Visit], Awaitable[Response]]
    permission: Permission | None = "view"
    method: Literal["GET", "POST"] = "GET"
    title: str = ""
    is_use: bool = True


class ConsolePart(Protocol):
    """A part of the console: pages, and the work that keeps them answering."""

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages; the same for the life of the process."""

    def troubles(self) -> Sequence[str]:
        """The troubles of now, each in a sentence."""

    async def run(self) -> None:
        """Do the work, until cancelled."""


class PageGuard:
    """The check of session, permission, app and form before a handler is called."""

    def __init__(
        self, sessions: SessionStore, origin: str, metrics: Metrics, pages: Sequence[ConsolePage]
    ) -> None:
        self._sessions = sessions
        self._origin = origin
        self._metrics = metrics
        self._titled = [page for page in pages if page.title]
        self.cookie = cookie_name(over_tls=origin.startswith("https:"))

    def route(self, page: ConsolePage) -> Route:
        """The route to a page, guarded."""

        async def handle(request: Request) -> Response:
            began_s = time.monotonic()
            visit = await self._visit(request, page)
            answer = await page.handler(visit)
            self._metrics.page_seconds.observe(time.monotonic() - began_s)
            return answer

        return Route(page.path, handle, methods=[page.method])

    def visit(self, request: Request, form: Form | None = None) -> Visit:
        """The visit of a request whose session was looked up, or could not be."""
        session: OpenSession | None = getattr(request.state, "session", None)
        return Visit(request, session, self._navigation(session), form, self._goes_on)

    async def _visit(self, request: Request, page: ConsolePage) -> Visit:
        session = await self._session(request, is_use=page.is_use)
        request.state.session = session
        if page.permission is not None:
            if session is None:
                raise NotSignedInError
            request.state.member = session.member.member_id
            if not session.member.may(page.permission):
                raise ConsoleProblem("forbidden")
            # The same for an app that is not there: which apps others have is nobody's business.
            appid = request.path_params.get(APP)
            if appid is not None and appid not in session.member.apps:
                raise ConsoleProblem("not_found")
        return self.visit(request, await self._form(request, page, session))

    async def _session(self, request: Request, *, is_use: bool) -> OpenSession | None:
        token = request.cookies.get(self.cookie, "")
        if not token or len(token) > TOKEN_CHARACTERS_MAX:
            return None
        find = self._sessions.find if is_use else self._sessions.look
        member = await asyncio.to_thread(find, token_digest(token))
        return None if member is None else OpenSession(token, member)

    async def _goes_on(self, session: OpenSession) -> bool:
        """Return whether a session is still the same: that of this member, role and owner's apps."""
        try:
            member = await asyncio.to_thread(self._sessions.look, token_digest(session.token))
        except RecordsUnavailableError:
            return False
        return member == session.member

    async def _form(self, request: Request, page: ConsolePage, session: OpenSession | None) -> Form | None:
        if page.method != "POST":
            return None
        refuse_other_sites(request, self._origin)
        try:
            async with asyncio.timeout(FORM_S):
                form = await read_form(request)
        except TimeoutError:
            raise ConsoleProblem("form_refused") from None
        if page.permission is not None and session is not None:
            refuse_other_sessions(form, session.token)
        return form

    def _navigation(self, session: OpenSession | None) -> list[NavigationEntry]:
        if session is None:
            return []
        return [
            NavigationEntry(page.path, page.title)
            for page in self._titled
            if page.permission is None or session.member.may(page.permission)
        ]
