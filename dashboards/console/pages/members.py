"""Members of the owner: who may sign in, and in which role."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.responses import Response

from dashboards.console.errors import RefusedChangeError
from dashboards.console.form_guard import own_origin
from dashboards.console.languages import marked
from dashboards.console.members import (
    MemberStore,
    PasswordLink,
    is_name,
    normalized_email,
)
from dashboards.console.page_guard import ConsolePage
from dashboards.console.roles import ROLES, Role
from dashboards.console.settings import ConsoleSettings
from dashboards.console.visit import Visit
from metering.personal_identifiers import find_identifier

ROLE_TITLES: Final[Mapping[Role, str]] = {
    "owner": marked("Owner"),
    "finance": marked("Finance"),
    "viewer": marked("Viewer"),
    "operator": marked("Operator"),
}
ROLE_MEANINGS: Final[Mapping[Role, str]] = {
    "owner": marked("sees and changes everything, and invites members"),
    "finance": marked("sees all figures, buys packs, and applies for invoices"),
    "viewer": marked("sees all figures"),
    "operator": marked("sees all figures, issues API keys and invoices, and confirms transfers"),
}
ASSIGNABLE: Final = tuple(role for role in ROLES if role != "operator")
"""Roles that owners give: an operator confirms payments to whoever runs phonemeter, who adds it."""

WRONG_EMAIL: Final = marked("This is no e-mail address that can be used; it may hold no phone number.")
WRONG_NAME: Final = marked("The name has 1 to 64 characters, without a phone number or an openid.")
REFUSED: Final[Mapping[str, str]] = {
    "not_there": marked("There is no such member."),
    "email_taken": marked("This address signs in already. To add it here too, ask who runs phonemeter."),
    "last_owner": marked("Someone has to stay in the role owner."),
    "several_owners": marked("This member signs in for other owners too. Ask who runs phonemeter."),
    "operator": marked("The role operator and the passwords of operators are given by who runs phonemeter."),
    "too_many": marked("There are too many members. Remove some first."),
}


class MemberPages:
    """The page of the members, and what its forms are sent to."""

    def __init__(self, members: MemberStore, settings: ConsoleSettings) -> None:
        self._members = members
        self._origin = settings.console_origin

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage("/members", self._show, "members", title=marked("Members")),
            ConsolePage("/members", self._invite, "members", "POST"),
            ConsolePage("/members/role", self._change_role, "members", "POST"),
            ConsolePage("/members/remove", self._remove, "members", "POST"),
            ConsolePage("/members/link", self._renew_link, "members", "POST"),
        ]

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _invite(self, visit: Visit) -> Response:
        email, name, role = normalized_email(visit.value("email")), visit.value("name"), _role(visit)
        if email is None or find_identifier(email) is not None:
            return await self._page(visit, visit.wording.text(WRONG_EMAIL), status=422)
        if not is_name(name) or role is None:
            return await self._page(visit, visit.wording.text(WRONG_NAME), status=422)
        try:
            link = await asyncio.to_thread(self._members.invite, visit.member.actor, email, name, role)
        except RefusedChangeError as error:
            return await self._refused(visit, error)
        return await self._page(visit, link=link)

    async def _change_role(self, visit: Visit) -> Response:
        role = _role(visit)
        if role is None:
            return await self._refused(visit, RefusedChangeError("not_there"))
        member_id, actor = visit.value("member"), visit.member.actor
        return await self._changed(visit, lambda: self._members.change_role(actor, member_id, role))

    async def _remove(self, visit: Visit) -> Response:
        member_id, actor = visit.value("member"), visit.member.actor
        return await self._changed(visit, lambda: self._members.remove(actor, member_id))

    async def _renew_link(self, visit: Visit) -> Response:
        try:
            link = await asyncio.to_thread(
                self._members.renew_link, visit.member.actor, visit.value("member")
            )
        except RefusedChangeError as error:
            return await self._refused(visit, error)
        return await self._page(visit, link=link)

    async def _changed(self, visit: Visit, change: Callable[[], None]) -> Response:
        try:
            await asyncio.to_thread(change)
        except RefusedChangeError as error:
            return await self._refused(visit, error)
        return visit.redirect("/members")

    async def _refused(self, visit: Visit, error: RefusedChangeError) -> Response:
        return await self._page(visit, visit.wording.text(REFUSED[error.reason]), status=409)

    async def _page(
        self, visit: Visit, mistake: str = "", link: PasswordLink | None = None, status: int = 200
    ) -> Response:
        members = await asyncio.to_thread(self._members.members_of, visit.member.membership.owner_id)
        origin = own_origin(visit.request, self._origin)
        values = {
            "members": members,
            "roles": ASSIGNABLE,
            "role_titles": ROLE_TITLES,
            "role_meanings": ROLE_MEANINGS,
            "mistake": mistake,
            "link": "" if link is None else password_address(origin, link.token),
            "link_until_ms": 0 if link is None else link.expires_at_ms,
        }
        return visit.page("members.html", values, status)


def password_address(origin: str, token: str) -> str:
    """The address of a one-time link; the token is in the query, which no log has."""
    return f"{origin}/password?link={token}"


def _role(visit: Visit) -> Role | None:
    return next((role for role in ASSIGNABLE if role == visit.value("role")), None)
