"""A member's own account: the password, the sessions, and whose apps are shown."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from dashboards.console.languages import marked
from dashboards.console.page_guard import ConsolePage
from dashboards.console.pages.sign_in import SignInPages, weak_sentence
from dashboards.console.passwords import CHARACTERS_MIN, Passwords, weakness
from dashboards.console.sessions import SessionStore, token_digest
from dashboards.console.visit import Visit

NOTICES: Final[Mapping[str, str]] = {
    "password": marked("The password is changed; other sessions have ended.")
}
WRONG: Final = marked("The current password is wrong.")


class AccountPages:
    """The page of the account, and what its forms are sent to."""

    def __init__(self, sessions: SessionStore, passwords: Passwords, sign_in: SignInPages) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._sign_in = sign_in

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages; the account is reached by the member's name, not by the navigation."""
        return [
            ConsolePage("/account", self._show),
            ConsolePage("/account/password", self._change_password, "view", "POST"),
            ConsolePage("/account/sign-out-everywhere", self._sign_out_everywhere, "view", "POST"),
            ConsolePage("/account/owner", self._choose_owner, "view", "POST"),
        ]

    async def _show(self, visit: Visit) -> Response:
        notice = NOTICES.get(visit.request.query_params.get("done", ""), "")
        return _page(visit, notice=visit.wording.text(notice) if notice else "")

    async def _change_password(self, visit: Visit) -> Response:
        member = visit.member
        current, password = (visit.form.get(name, [""])[0] for name in ("current", "password"))
        found = await asyncio.to_thread(self._sessions.credentials_of, member.member_id)
        if found is None or not await self._passwords.is_right(current, found.password_hash):
            return _page(visit, visit.wording.text(WRONG), status=422)
        weak = weakness(password, visit.form.get("repeated", [""])[0], member.email)
        if weak is not None:
            return _page(visit, weak_sentence(visit, weak), status=422)
        hashed = await self._passwords.hashed(password)
        await asyncio.to_thread(self._sessions.keep_password, member.member_id, hashed)
        return await self._sign_in.begin_session(visit, member.member_id, "/account?done=password")

    async def _sign_out_everywhere(self, visit: Visit) -> Response:
        await asyncio.to_thread(self._sessions.end_all, visit.member.member_id)
        return visit.redirect("/sign-in")

    async def _choose_owner(self, visit: Visit) -> Response:
        if visit.session is not None:
            digest = token_digest(visit.session.token)
            await asyncio.to_thread(self._sessions.choose_owner, digest, visit.value("owner"))
        return visit.redirect("/")


def _page(visit: Visit, mistake: str = "", notice: str = "", status: int = 200) -> Response:
    values = {"mistake": mistake, "notice": notice, "least": CHARACTERS_MIN}
    return visit.page("account.html", values, status)
