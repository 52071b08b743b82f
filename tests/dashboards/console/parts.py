"""Parts of a console for tests: owners and members in a database, and a browser without a screen."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import NamedTuple

import aiohttp
from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from dashboards.console.application import application
from dashboards.console.metrics import Metrics
from dashboards.console.order_desk import OrderDesk
from dashboards.console.page_guard import ConsolePart
from dashboards.console.passwords import Passwords
from dashboards.console.payments import PaymentProvider
from dashboards.console.roles import Role
from dashboards.console.service import Records, all_pages
from dashboards.console.sessions import token_digest
from dashboards.console.settings import ConsoleSettings
from http_service.http_server import served
from metering.catalogue import DEFAULT
from metering.rules import Rules
from phonemeter.business.console_keys import OwnerKeys
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.guide import BusinessGuide
from phonemeter.business.invoice_titles import BusinessTitles
from phonemeter.business.invoices import BusinessInvoices
from phonemeter.business.keys import KeyStore
from phonemeter.business.members import BusinessMembers, MemberRegister
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from phonemeter.business.sessions import BusinessSessions
from tests.ports import free_port

APPS = ("wx8ff4154a2448e576", "wxfb1f3d218d111092")
BILLING_START_MS = Rules().billing_start_ms
OTHER_APP = "wx00000000000000aa"
PASSWORD = "correct horse battery"  # noqa: S105 - of the tests
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""As cheap as Argon2 can be: what it costs is no matter of these tests."""


def email_of(role: str, owner: str = "a") -> str:
    return f"{role}@{owner}.example"


class Seen(NamedTuple):
    """An answer, as a browser has it after redirects."""

    status: int
    path: str
    text: str
    headers: Mapping[str, str]

    @property
    def title(self) -> str:
        """The title of the page."""
        found = re.search(r"<title>(.*) · phonemeter</title>", self.text)
        assert found is not None, self.text[:500]
        return unescape(found[1])

    @property
    def mistake(self) -> str:
        """The fault that the page tells; empty if it tells none."""
        found = re.search(r'role="alert">([^<]*)<', self.text)
        return unescape(found[1]) if found else ""

    @property
    def form_token(self) -> str:
        """The token of its forms."""
        found = re.search(r'name="form_token" value="([0-9a-f]{64})"', self.text)
        assert found is not None, self.text[:2_000]
        return found[1]

    def code(self, name: str) -> str:
        """The text that is shown once, by its id."""
        found = re.search(rf'<code id="{name}">([^<]*)</code>', self.text)
        assert found is not None, self.text[:2_000]
        return unescape(found[1])


class Browser:
    """A browser: cookies, redirects, and the headers by which it says where a form comes from."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base = base
        self.session = session

    async def get(self, path: str, **headers: str) -> Seen:
        return await self._request("GET", path, headers, None)

    async def post(
        self, path: str, fields: Mapping[str, str | Sequence[str]], headers: Mapping[str, str] | None = None
    ) -> Seen:
        """Send a form as from a page of the same origin, unless the headers say otherwise."""
        usual = {"origin": self.base, "sec-fetch-site": "same-origin"}
        pairs = [
            (name, one)
            for name, value in fields.items()
            for one in ([value] if isinstance(value, str) else value)
        ]
        return await self._request("POST", path, usual if headers is None else headers, pairs)

    async def send(self, page: str, path: str, **fields: str | Sequence[str]) -> Seen:
        """Load a page, and send a form of it."""
        shown = await self.get(page)
        return await self.post(path, {"form_token": shown.form_token, **fields})

    async def sign_in(self, email: str, password: str = PASSWORD, wanted: str = "/account") -> Seen:
        return await self.post("/sign-in", {"email": email, "password": password, "next": wanted})

    def cookie(self, name: str) -> str:
        """The value of a cookie; empty if there is none."""
        return next((one.value for one in self.session.cookie_jar if one.key == name), "")

    async def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        pairs: Sequence[tuple[str, str]] | None,
    ) -> Seen:
        async with self.session.request(
            method, f"{self.base}{path}", headers=headers, data=None if pairs is None else list(pairs)
        ) as reply:
            found = {name.lower(): value for name, value in reply.headers.items()}
            return Seen(reply.status, reply.url.path_qs, await reply.text(), found)


class ServedConsole(NamedTuple):
    """A console on loopback, with two owners: `a` has two apps, `b` has one."""

    base: str
    database: BusinessDatabase
    records: Records
    metrics: Metrics

    @asynccontextmanager
    async def browser(self, email: str | None = None) -> AsyncIterator[Browser]:
        """A browser of its own, signed in if an address is given."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            browser = Browser(self.base, session)
            if email is not None:
                signed_in = await browser.sign_in(email)
                assert signed_in.path == "/account", signed_in.mistake
            yield browser

    def add_member(self, role: Role, owner: str, email: str | None = None) -> str:
        """Add a member with the usual password; returns the address."""
        address = email or email_of(role, owner)
        link = MemberRegister(self.database).add(address, f"{role} of {owner}", owner, role)
        if link is not None:
            self.records.sessions.use_link(token_digest(link.token), HASHER.hash(PASSWORD))
        return address


@asynccontextmanager
async def served_console(
    directory: Path,
    parts: Sequence[ConsolePart] = (),
    url: str = "",
    providers: Sequence[PaymentProvider] = (),
    endpoints: Callable[[OrderDesk], Sequence[Route]] = lambda _desk: (),
    **settings: str | int,
) -> AsyncIterator[ServedConsole]:
    """A console in the block, on a business database of its own."""
    settings.setdefault("console_port", free_port())
    chosen = ConsoleSettings(**settings)  # type: ignore[arg-type] # checked by pydantic
    port = chosen.console_port
    with BusinessDatabase(url or f"sqlite:///{directory}/business.sqlite") as database:
        owners = OwnerStore(database)
        owners.add("a", APPS)
        owners.add("b", [OTHER_APP])
        records = Records(
            BusinessSessions(database, chosen.console_idle_min, chosen.console_session_h),
            BusinessMembers(database),
            OwnerKeys(KeyStore(database)),
            BusinessFacts(database),
            OrderDesk(BusinessOrders(database), providers, DEFAULT, BILLING_START_MS),
            BusinessGuide(database),
            BusinessInvoices(database),
            BusinessTitles(database),
        )
        metrics = Metrics(CollectorRegistry())
        pages = all_pages(chosen, records, metrics, Passwords(HASHER), parts)
        web = application(chosen, records.sessions, metrics, pages, endpoints(records.orders))
        async with served(web, "127.0.0.1", port, "PORT", 5):
            console = ServedConsole(f"http://127.0.0.1:{port}", database, records, metrics)
            console.add_member("owner", "a")
            console.add_member("owner", "b")
            yield console
