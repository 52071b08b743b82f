"""Signing in and out, and choosing a password by a one-time link."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from dashboards.console.languages import marked
from dashboards.console.members import normalized_email
from dashboards.console.metrics import Metrics
from dashboards.console.page_guard import ConsolePage
from dashboards.console.passwords import CHARACTERS_MAX, CHARACTERS_MIN, Passwords, Weakness, weakness
from dashboards.console.sessions import SessionStore, cookie_name, new_token, token_digest
from dashboards.console.settings import ConsoleSettings
from dashboards.console.sign_in_limits import SignInLimits
from dashboards.console.visit import Visit, local_path

log = logging.getLogger(__name__)

WEAK: Final[Mapping[Weakness, str]] = {
    "short": marked("The password needs at least %(least)s characters."),
    "long": marked("The password has at most %(most)s characters."),
    "like_email": marked("The password may not be the e-mail address."),
    "differ": marked("The two entries differ."),
}
WRONG: Final = marked("E-mail address or password is wrong.")
LIMITED: Final = marked("Too many attempts. Try again in %(minutes)s min.")
NO_OWNER: Final = marked("You belong to no owner any more. Ask who runs phonemeter.")
USED_LINK: Final = marked("This link was used or has expired. Ask for a new one.")


class SignInPages:
    """The pages that need no session."""

    def __init__(
        self,
        settings: ConsoleSettings,
        sessions: SessionStore,
        passwords: Passwords,
        limits: SignInLimits,
        metrics: Metrics,
    ) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._limits = limits
        self._metrics = metrics
        self._proxy = settings.console_proxy
        self._over_tls = settings.console_origin.startswith("https:")
        self._cookie = cookie_name(over_tls=self._over_tls)
        self._has_provider = bool(settings.console_oidc_issuer)

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage("/sign-in", self._show, None),
            ConsolePage("/sign-in", self._sign_in, None, "POST"),
            ConsolePage("/sign-out", self._sign_out, "view", "POST"),
            ConsolePage("/password", self._show_link, None),
            ConsolePage("/password", self._use_link, None, "POST"),
        ]

    async def begin_session(self, visit: Visit, member_id: str, path: str) -> Response:
        """Begin a session, with a new token and never with one that the browser brought; go to a page."""
        if visit.session is not None:
            await asyncio.to_thread(self._sessions.end, token_digest(visit.session.token))
        token = new_token()
        if not await asyncio.to_thread(self._sessions.begin, member_id, token_digest(token)):
            return self.refusal(visit, visit.wording.text(NO_OWNER), 403)
        answer = visit.redirect(path)
        answer.set_cookie(self._cookie, token, secure=self._over_tls, httponly=True, samesite="lax")
        return answer

    def refusal(self, visit: Visit, mistake: str, status: int) -> Response:
        """The page for signing in, with a mistake."""
        return self._page(visit, mistake, status=status)

    async def _show(self, visit: Visit) -> Response:
        wanted = local_path(visit.request.query_params.get("next", ""))
        return visit.redirect(wanted) if visit.session else self._page(visit, wanted=wanted)

    async def _sign_in(self, visit: Visit) -> Response:
        email, password = visit.value("email").lower(), visit.form.get("password", [""])[0]
        wanted = local_path(visit.value("next"))
        wait_s = self._limits.take(email, self._address(visit))
        if wait_s:
            self._metrics.sign_ins.labels("limited").inc()
            limited = visit.wording.text(LIMITED, minutes=-(-wait_s // 60))
            answer = self._page(visit, limited, email, wanted, status=429)
            answer.headers["retry-after"] = str(wait_s)
            return answer
        found = await asyncio.to_thread(self._sessions.credentials, normalized_email(email) or "")
        password_hash = None if found is None else found.password_hash
        if not await self._passwords.is_right(password, password_hash) or found is None:
            self._metrics.sign_ins.labels("refused").inc()
            visit.request.state.answer = "sign_in_refused"
            return self._page(visit, visit.wording.text(WRONG), email, wanted, status=401)
        self._limits.forget(email)
        self._metrics.sign_ins.labels("signed_in").inc()
        if self._passwords.is_outdated(password_hash or ""):
            renewed = await self._passwords.hashed(password)
            await asyncio.to_thread(self._sessions.rehash, found.member_id, renewed)
        return await self.begin_session(visit, found.member_id, wanted)

    async def _sign_out(self, visit: Visit) -> Response:
        if visit.session is not None:
            await asyncio.to_thread(self._sessions.end, token_digest(visit.session.token))
        answer = visit.redirect("/sign-in")
        answer.delete_cookie(self._cookie, secure=self._over_tls, httponly=True, samesite="lax")
        return answer

    async def _show_link(self, visit: Visit) -> Response:
        token = visit.request.query_params.get("link", "")
        if not await asyncio.to_thread(self._sessions.is_link, token_digest(token)):
            return _link_page(visit, "", visit.wording.text(USED_LINK), status=410)
        return _link_page(visit, token)

    async def _use_link(self, visit: Visit) -> Response:
        token, password = visit.value("link"), visit.form.get("password", [""])[0]
        digest = token_digest(token)
        # Looked up first: hashing costs, and anyone can send this form.
        if not await asyncio.to_thread(self._sessions.is_link, digest):
            return _link_page(visit, "", visit.wording.text(USED_LINK), status=410)
        weak = weakness(password, visit.form.get("repeated", [""])[0])
        if weak is not None:
            return _link_page(visit, token, weak_sentence(visit, weak), status=422)
        hashed = await self._passwords.hashed(password)
        member_id = await asyncio.to_thread(self._sessions.use_link, digest, hashed)
        if member_id is None:
            return _link_page(visit, "", visit.wording.text(USED_LINK), status=410)
        return await self.begin_session(visit, member_id, "/")

    def _page(
        self, visit: Visit, mistake: str = "", email: str = "", wanted: str = "/", status: int = 200
    ) -> Response:
        values = {"mistake": mistake, "email": email, "wanted": wanted, "has_provider": self._has_provider}
        return visit.page("sign_in.html", values, status)

    def _address(self, visit: Visit) -> str:
        """The address of the client; what a proxy of ours says last, is where it has the request from."""
        client = visit.request.client
        address = client.host if client else ""
        if self._proxy and address == self._proxy:
            return visit.request.headers.get("x-forwarded-for", address).rpartition(",")[2].strip()
        return address


def weak_sentence(visit: Visit, weak: Weakness) -> str:
    """The sentence about a new password that is refused."""
    return visit.wording.text(WEAK[weak], least=CHARACTERS_MIN, most=CHARACTERS_MAX)


def _link_page(visit: Visit, token: str, mistake: str = "", status: int = 200) -> Response:
    values: dict[str, Any] = {"link": token, "mistake": mistake, "least": CHARACTERS_MIN}
    return visit.page("password.html", values, status)
