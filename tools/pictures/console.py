"""Pictures of the console's pages in docs/console: `python -m tools.pictures.console`."""

import asyncio
import io
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, cast

from argon2 import PasswordHasher
from msgspec.structs import replace
from PIL import Image
from playwright.async_api import Browser, async_playwright

from dashboards.console.application import application
from dashboards.console.figures import FigurePages
from dashboards.console.members import Actor
from dashboards.console.metrics import Metrics
from dashboards.console.order_part import OrderPart
from dashboards.console.owner_settings import OwnerSettingPages
from dashboards.console.passwords import Passwords
from dashboards.console.service import all_pages
from dashboards.console.sessions import PLAIN_COOKIE, new_token, token_digest
from dashboards.console.settings import ConsoleSettings
from dashboards.http.pool import ReadPool
from http_service.http_server import served
from metering.ledger import Entry
from phonemeter.business.console_alerts import ConsoleAlerts
from phonemeter.business.console_records import console_records
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import MemberRegister
from phonemeter.business.owners import OwnerStore
from phonemeter.business.recipients import BusinessRecipients
from phonemeter.reads.connection import ReadOnlyConnection
from phonemeter.settings import load
from tools import chromium
from tools.pictures.console_records import ACCOUNT, fill_records
from tools.pictures.half_year import entries_for_pages
from tools.pictures.half_year_engine import half_year_engine

PICTURES: Final = Path(__file__).parents[2] / "docs" / "console"
COLOURS: Final = 128
"""Enough for text and curves, and half of the size."""

NAMES: Final = (
    "海岸咖啡", "小满茶饮", "城南面馆", "云上烘焙", "好邻便利", "青禾药房", "江边火锅", "蓝莓母婴",
)  # fmt: skip
OWNER: Final = "海岸餐饮集团"
APP: Final = "wx92717bd84024b977"
MAIL_SERVER: Final = "mailtos://user:password@mail.example?from=alerts@coast.example"
MEMBER: Final = "chen@coast.example"
ANSWER_S: Final = 60.0
ROUTES: Final = """
[routes.shop-managers]
channel = "wecom"
url = "file:wecom"
severities = ["urgent"]
quiet = { from = "22:00", to = "08:00" }

[routes.buyer]
channel = "email"
url = "file:mail"
digest = { every = "day", at = "09:00" }
"""
SECRETS: Final = {
    "wecom": "wecombot://0123456789abcdef",
    "mail": "mailtos://user:password@mail.example?to=buyer@coast.example&from=alerts@coast.example",
}
"""Addresses of nobody: nothing is sent while pictures are drawn."""


class ConsolePicture(NamedTuple):
    """A picture: of which page, in which language and theme, on which screen."""

    name: str
    path: str
    language: str
    theme: str
    is_phone: bool

    @property
    def file(self) -> Path:
        """The place where it is kept."""
        screen = "phone" if self.is_phone else "desktop"
        return PICTURES / f"{self.name}-{screen}-{self.language}-{self.theme}.png"


def console_pictures(appid: str, order_id: str = "", invoice_id: str = "") -> list[ConsolePicture]:
    """Each page in both languages: in the light on a desktop, in the dark on a phone."""
    pages = {
        "sign-in": "/sign-in",
        "overview": "/overview",
        "usage": f"/usage/{appid}?window=quarter",
        "notice": f"/notices/{appid}",
        "member-card": f"/member-card/{appid}",
        "alerts": "/alerts?state=open",
        "balance": f"/usage/{appid}/balance?window=quarter",
        "first-run": "/first-run",
        "keys": "/keys",
        "buy": f"/buy/{appid}",
        "guide": f"/buy/{appid}/guide",
        "orders": "/orders",
        "order": f"/orders/{order_id}",
        "invoices": "/invoices",
        "invoice": f"/invoices/{invoice_id}",
        "invoice-titles": "/invoices/titles",
        "notices": "/notices",
        "levels": f"/alerts/levels/{appid}",
        "recipients": "/alerts/recipients",
        "members": "/members",
        "activity": "/activity",
        "account": "/account",
    }
    return [
        ConsolePicture(name, path, language, theme, is_phone)
        for name, path in pages.items()
        for language, theme, is_phone in (
            ("zh", "light", False),
            ("en", "light", False),
            ("zh", "dark", True),
            ("en", "dark", True),
        )
    ]


def main() -> None:
    """Draw all pictures."""
    PICTURES.mkdir(exist_ok=True)
    entries = named(entries_for_pages())
    with half_year_engine(entries) as url:
        asyncio.run(_draw(url, sorted({entry.appid for entry in entries if entry.appid})))


async def _draw(url: str, apps: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with _console(url, Path(directory), apps) as shown, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium.program(), args=["--no-sandbox"]
            )
            for picture in console_pictures(APP, shown.order_id, shown.invoice_id):
                picture.file.write_bytes(await _drawn(browser, picture, shown.base, shown.token))
            await browser.close()


def named(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with names that such apps have."""
    found = []
    for entry in entries:
        if entry.kind == "registration":
            details = json.loads(entry.details)
            name = details.get("name", "")
            if name.startswith("Simulated app "):
                details["name"] = NAMES[int(name.rsplit(" ", 1)[1]) - 1]
                entry = replace(entry, details=json.dumps(details, ensure_ascii=False))  # noqa: PLW2901
        found.append(entry)
    return found


class ShownConsole(NamedTuple):
    """A console: its address, the token of a session, and the numbers of an order and of an invoice."""

    base: str
    token: str
    order_id: str
    invoice_id: str


@asynccontextmanager
async def _console(url: str, directory: Path, apps: Sequence[str]) -> AsyncIterator[ShownConsole]:
    """A console in the block."""
    port = _free_port()
    settings = load(console_port=port, console_transfer=ACCOUNT)
    chosen = ConsoleSettings(console_port=port)
    with BusinessDatabase(f"sqlite:///{directory}/business.sqlite") as database:
        owners = OwnerStore(database)
        owners.add(OWNER, list(apps))
        link = MemberRegister(database).add(MEMBER, "陈晨", OWNER, "owner")
        records = console_records(database, settings)
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        password, token = hasher.hash(new_token()), new_token()
        member_id = None if link is None else records.sessions.use_link(token_digest(link.token), password)
        records.sessions.begin(str(member_id), token_digest(token))
        (owner,) = owners.every_owner()
        recipients = BusinessRecipients(database, MAIL_SERVER, ANSWER_S)
        actor = Actor(MEMBER, owner.owner_id)
        numbers = fill_records(database, records, recipients, actor, [APP, *apps])
        pool = ReadPool(partial(ReadOnlyConnection, url, ANSWER_S), 4, 100, ANSWER_S)
        metrics = Metrics()
        for name, text in (("routes.toml", ROUTES), *SECRETS.items()):
            (directory / name).write_text(text, encoding="utf-8")
        alerts = ConsoleAlerts(database, settings.kafka_access, directory / "routes.toml")
        figures = FigurePages(
            pool, records.keys, records.orders, records.facts,
            "https://events.coast.example", guide=records.guide,
        )  # fmt: skip
        pages = all_pages(
            chosen, records, metrics, Passwords(hasher),
            [
                figures,
                OrderPart(records.orders, figures.reads),
                OwnerSettingPages(pool, records.facts, alerts, recipients, settings.rules()),
            ],
        )  # fmt: skip
        try:
            web = application(chosen, records.sessions, metrics, pages)
            async with served(web, "127.0.0.1", port, "PORT", 5):
                yield ShownConsole(f"http://127.0.0.1:{port}", token, *numbers)
        finally:
            pool.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def _drawn(browser: Browser, picture: ConsolePicture, base: str, token: str) -> bytes:
    context = await browser.new_context(
        viewport={"width": 390, "height": 844} if picture.is_phone else {"width": 1280, "height": 800},
        base_url=base,
    )
    cookies = {"language": picture.language, "theme": picture.theme}
    if picture.name != "sign-in":
        cookies[PLAIN_COOKIE] = token
    await context.add_cookies(
        [{"name": name, "value": value, "url": base} for name, value in cookies.items()]
    )
    page = await context.new_page()
    page.set_default_timeout(60_000)
    await page.goto(picture.path, wait_until="networkidle")
    taken = await page.screenshot(full_page=True, animations="disabled")
    await context.close()
    small = io.BytesIO()
    _with_few_colours(Image.open(io.BytesIO(taken)).convert("RGB")).save(small, "PNG", optimize=True)
    return small.getvalue()


def _with_few_colours(image: Image.Image) -> Image.Image:
    """The picture in its most frequent colours: means would grey what is small and bright."""
    found = image.getcolors(image.width * image.height) or []
    frequent = sorted(found, key=lambda one: one[0], reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in frequent for part in cast("tuple[int, ...]", colour)])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
