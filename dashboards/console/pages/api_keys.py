"""API keys: who may send events and read figures of the owner's apps."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from dashboards.console.errors import RefusedChangeError
from dashboards.console.key_desk import KeyDesk, NewKey
from dashboards.console.languages import marked
from dashboards.console.members import is_name
from dashboards.console.page_guard import ConsolePage
from dashboards.console.visit import Visit
from metering.http_endpoints import Scope
from metering.times import DAY_MS

APPS_MAX: Final = 1_000
"""Apps that one key is for."""

DAYS: Final = (0, 30, 90, 365)
"""Choices of validity; 0 for a key that does not expire."""

SCOPES: Final[Mapping[Scope, str]] = {"emit": marked("send events"), "read": marked("read figures")}

WRONG_NAME: Final = marked("The name has 1 to 64 characters, without a phone number or an openid.")
WRONG_CHOICE: Final = marked("Choose what the key may do, and at least one app.")
REFUSED: Final[Mapping[str, str]] = {
    "not_there": marked("There is no such key."),
    "key_ended": marked("The key is not valid any more. Issue a new one."),
    "too_many": marked("There are too many valid keys. Revoke some first."),
}


class ApiKeyPages:
    """The page of the keys, and what its forms are sent to."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage("/keys", self._show, "keys", title=marked("API keys")),
            ConsolePage("/keys", self._issue, "keys", "POST"),
            ConsolePage("/keys/rotate", self._rotate, "keys", "POST"),
            ConsolePage("/keys/revoke", self._revoke, "keys", "POST"),
        ]

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _issue(self, visit: Visit) -> Response:
        name, days = visit.value("name"), visit.value("days")
        scopes = [scope for scope in SCOPES if scope in visit.form.get("scope", [])]
        every = bool(visit.form.get("all_apps"))
        apps = [app for app in visit.apps if every or app in visit.form.get("app", [])]
        if not is_name(name):
            return await self._page(visit, visit.wording.text(WRONG_NAME), status=422)
        if not scopes or not 0 < len(apps) <= APPS_MAX or days not in map(str, DAYS):
            return await self._page(visit, visit.wording.text(WRONG_CHOICE), status=422)
        expires_at_ms = _now_ms() + int(days) * DAY_MS if int(days) else None
        try:
            issued = await asyncio.to_thread(
                self._desk.issue, visit.member.actor, name, scopes, apps, expires_at_ms
            )
        except RefusedChangeError as error:
            return await self._refused(visit, error)
        return await self._page(visit, issued=issued)

    async def _rotate(self, visit: Visit) -> Response:
        prefix = visit.value("prefix")
        try:
            issued = await asyncio.to_thread(self._desk.rotate, visit.member.actor, prefix, visit.apps)
        except RefusedChangeError as error:
            return await self._refused(visit, error)
        return await self._page(visit, issued=issued)

    async def _revoke(self, visit: Visit) -> Response:
        prefix = visit.value("prefix")
        try:
            await asyncio.to_thread(self._desk.revoke, visit.member.actor, prefix, visit.apps)
        except RefusedChangeError as error:
            return await self._refused(visit, error)
        return visit.redirect("/keys")

    async def _refused(self, visit: Visit, error: RefusedChangeError) -> Response:
        return await self._page(visit, visit.wording.text(REFUSED[error.reason]), status=409)

    async def _page(
        self, visit: Visit, mistake: str = "", issued: NewKey | None = None, status: int = 200
    ) -> Response:
        keys = await asyncio.to_thread(self._desk.keys_of, visit.apps)
        values = {
            "keys": keys,
            "apps": visit.apps,
            "scopes": SCOPES,
            "days": DAYS,
            "mistake": mistake,
            "issued": issued,
            "name": visit.value("name") if mistake else "",
        }
        return visit.page("api_keys.html", values, status)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
