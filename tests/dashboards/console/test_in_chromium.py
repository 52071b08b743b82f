"""The console in a real browser: its journeys, and no barriers that axe finds."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, expect

from dashboards.console.recipients import ROBOTS
from metering.ledger import Entry
from metering.times import DAY_MS
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.browsing import started_browser
from tests.dashboards.console.figures import console_with_figures
from tests.dashboards.console.parts import OTHER_APP, PASSWORD, ServedConsole, email_of
from tests.real_parts import starts_real_parts
from tools import axe
from tools.pictures.half_year import DAYS, START_MS
from tools.pictures.half_year_engine import store_entries

APP: Final = "wx92717bd84024b977"
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 360, "height": 740}
PAGES: Final = (
    "/overview",
    f"/usage/{APP}?window=quarter",
    f"/usage/{APP}/balance?window=quarter",
    f"/buy/{APP}",
    f"/buy/{APP}?capability=realtime",
    f"/buy/{APP}/guide",
    f"/member-card/{APP}",
    "/alerts",
    "/alerts/recipients",
    "/alerts/recipients/new?kind=wecom",
    f"/alerts/levels/{APP}",
    "/alerts/recipients",
    "/alerts/recipients/new?kind=dingtalk",
    "/first-run",
    "/notices",
    f"/notices/{APP}",
    "/invoices",
    "/invoices/titles",
    "/keys",
    "/members",
    "/activity",
    "/account",
)
WAIT_MS: Final = 60_000
"""Longer than any page takes, also beside everything else that the machine does."""

OFFSETS: Final = count(10_000_000)
"""Of the lines that arrive while pages are open: each is behind all before it."""

expect.set_options(timeout=WAIT_MS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
@starts_real_parts
async def browser() -> AsyncIterator[Browser]:
    async with started_browser() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with console_with_figures(tmp_path_factory.mktemp("console"), ledger) as served:
        yield served


@asynccontextmanager
async def opened(
    browser: Browser, console: ServedConsole, viewport: ViewportSize, **cookies: str
) -> AsyncIterator[Page]:
    """A page of a new visitor; at the end the browser must not have complained about anything."""
    context = await browser.new_context(viewport=viewport, base_url=console.base, locale="zh-CN")
    context.set_default_timeout(WAIT_MS)
    await context.add_cookies(
        [{"name": name, "value": value, "url": console.base} for name, value in cookies.items()]
    )
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
        assert complaints == []
    finally:
        await context.close()


async def sign_in(page: Page, email: str) -> None:
    await page.goto("/")
    await page.fill("#email", email)
    await page.fill("#password", PASSWORD)
    await page.press("#password", "Enter")
    await page.wait_for_url(lambda url: "/sign-in" not in url)


async def barriers(page: Page) -> list[str]:
    """Findings of axe that are serious or worse, with the places."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(axe.script().read_text(encoding="utf-8"))
    found: dict[str, Any] = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {[node['html'][:120] for node in one['nodes']][:3]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]


def arrive(ledger: Ledger) -> str:
    """Have a call arrive that nothing covers, in a store of its own; returns that."""
    now_ms, offset = START_MS + DAYS * DAY_MS - 1, next(OFFSETS)
    store = f"arrives-{offset}"
    call = Entry(
        offset, 0, "uncovered", now_ms, now_ms, APP, "quick", calls=1, reason="exhausted", event_id=store,
        store=store,
    )  # fmt: skip
    store_entries(ledger.engine.url, [call])
    return store


@pytest.mark.asyncio(loop_scope="module")
async def test_a_member_finds_from_the_address_to_the_calls_of_an_app(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, DESKTOP) as page:
        await sign_in(page, email_of("owner"))
        await expect(page.locator("h1")).to_have_text("概览")
        await page.fill("#search", "app 1")
        await page.press("#search", "Enter")
        await page.click(f"a[href^='/usage/{APP}?capability=quick']")
        await expect(page.locator("h1")).to_have_text("Simulated app 1")
        await expect(page.locator("nav a[aria-current=page]").first).to_have_text("我的用量")
        curve = page.locator("#curve canvas")
        await expect(curve).to_be_visible()
        await page.locator("#curve .u-over").hover()
        await expect(page.locator("#curve-point")).to_have_text(re.compile(r"月.*本期 \d+ · 上期 \d+"))
        await page.click("text=12 个月")
        await page.locator("#curve .u-over").hover()
        await expect(page.locator("#curve-point")).to_have_text(re.compile(r"2024年"))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_browser_sends_no_address_but_a_robots(browser: Browser, console: ServedConsole) -> None:
    fits = "document.getElementById('address').checkValidity()"
    async with opened(browser, console, PHONE) as page:
        await sign_in(page, email_of("owner"))
        for kind, robot in ROBOTS.items():
            await page.goto(f"/alerts/recipients/new?kind={kind}")
            await page.fill("#address", f"{robot.beginning}566cc69da782ec7b")
            assert await page.evaluate(fits)
            for wrong in ("https://10.0.0.1/hook", f"{robot.beginning}key@10.0.0.1"):
                await page.fill("#address", wrong)
                assert not await page.evaluate(fits), wrong
        await page.fill("#address", f"{robot.beginning}566cc69da782ec7b")
        await page.fill("#name", "群")
        await page.click("main button.primary")
        await expect(page.locator("td code")).to_have_text("…ec7b")
        await page.click("main button.danger")
        await expect(page.locator("h2").first).to_have_text("接收人")
        await expect(page.locator("td code")).to_have_count(0)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_file_of_the_curve_is_saved_under_a_name_that_says_what_it_is(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, DESKTOP) as page:
        await sign_in(page, email_of("owner"))
        await page.goto(f"/usage/{APP}?window=quarter")
        await page.click("text=导出 CSV")
        async with page.expect_download() as saving:
            await page.click("text=按门店")
        saved = await saving.value
        assert re.fullmatch(rf"{APP}-quick-2024-\d\d-\d\d-quarter\.csv", saved.suggested_filename)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_curve_is_saved_as_a_picture_with_the_app_and_the_time_in_its_name(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, DESKTOP) as page:
        await sign_in(page, email_of("owner"))
        await page.goto(f"/usage/{APP}?window=quarter")
        async with page.expect_download() as saving:
            await page.click("text=导出 PNG")
        saved = await saving.value
        assert re.fullmatch(rf"{APP}-quick-2024-\d\d-\d\d-quarter\.png", saved.suggested_filename)
        picture = await asyncio.to_thread(Path(await saved.path()).read_bytes)
        assert picture.startswith(b"\x89PNG")
        curve = await page.locator("#curve").bounding_box()
        assert curve is not None
        width, height = struct.unpack(">II", picture[16:24])
        assert (width, height) > (curve["width"], curve["height"])


@pytest.mark.asyncio(loop_scope="module")
async def test_figures_and_curves_move_while_calls_arrive_and_nothing_else_does(
    browser: Browser, console: ServedConsole, ledger: Ledger
) -> None:
    """Focus, what is unfolded and the place on the page stay; the page is not loaded again."""
    async with opened(browser, console, DESKTOP) as page:
        await sign_in(page, email_of("owner"))
        await page.goto("/overview?search=app+1")
        used = page.locator(f"tr[data-key='{APP}-quick'] td[data-label='近 28 天']")
        before = int((await used.inner_text()).replace(",", ""))
        await page.focus(f"a[href^='/usage/{APP}?capability=quick']")
        await page.evaluate("window.isThisVisit = true")
        arrive(ledger)
        await expect(used).to_have_text(f"{before + 1:,}")
        assert await page.evaluate("document.activeElement.textContent") == "Simulated app 1"
        assert await page.evaluate("window.isThisVisit")

        await page.goto(f"/usage/{APP}?window=quarter")
        await page.click("text=以表格查看曲线")
        await page.evaluate("window.isThisVisit = true")
        height = await page.evaluate("document.getElementById('curve').getBoundingClientRect().top")
        columns = "JSON.parse(document.getElementById('curve-columns').textContent)"
        calls = f"{columns}.calls.reduce((all, one) => all + one, 0)"
        so_far = await page.evaluate(calls)
        store = arrive(ledger)
        await expect(page.locator("table tbody tr", has_text=store)).to_have_count(1)
        assert await page.evaluate("document.getElementById('curve').getBoundingClientRect().top") == height
        await expect(page.locator("details[open]", has_text="以表格查看曲线")).to_be_visible()
        assert await page.evaluate(calls) == so_far + 1
        assert await page.evaluate("window.isThisVisit")


@pytest.mark.asyncio(loop_scope="module")
async def test_who_wants_no_motion_sees_none_and_without_scripts_all_pages_are_there(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, DESKTOP) as page:
        await page.emulate_media(reduced_motion="reduce")
        await sign_in(page, email_of("owner"))
        name = "getComputedStyle(document.querySelector('h1')).animationName"
        await page.evaluate("document.querySelector('h1').classList.add('moved')")
        assert await page.evaluate(name) == "none"
        await page.emulate_media(reduced_motion="no-preference")
        assert await page.evaluate(name) == "moved"
        cookies = await page.context.cookies()
    without = await browser.new_context(java_script_enabled=False, base_url=console.base, locale="zh-CN")
    await without.add_cookies(
        [{"name": one["name"], "value": one["value"], "url": console.base} for one in cookies]
    )
    plain = await without.new_page()
    await plain.goto("/overview")
    await expect(plain.locator("tbody tr").first).to_be_visible()
    await plain.goto(f"/usage/{APP}?window=quarter")
    await expect(plain.locator("text=以表格查看曲线")).to_be_visible()
    await expect(plain.locator("#curve-picture")).to_be_hidden()
    await without.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("viewport", "language", "theme"),
    [(DESKTOP, "zh", "light"), (PHONE, "en", "dark")],
    ids=["desktop", "phone"],
)
async def test_no_page_has_serious_barriers_or_is_wider_than_the_screen(
    browser: Browser, console: ServedConsole, viewport: ViewportSize, language: str, theme: str
) -> None:
    """Colours are the same on all sizes; English has the longer texts, and phones have the least room."""
    async with opened(browser, console, viewport, theme=theme, language=language) as page:
        await page.goto("/sign-in")
        found = {"/sign-in": await barriers(page)}
        await sign_in(page, email_of("owner"))
        for path in PAGES:
            await page.goto(path)
            found[path] = await barriers(page)
            width: int = await page.evaluate("document.documentElement.scrollWidth")
            if width > viewport["width"]:
                found[path].append(f"{width} px wide")
        assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.asyncio(loop_scope="module")
async def test_language_and_theme_are_switched_by_the_keyboard_and_stay(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, DESKTOP, theme="auto") as page:
        await sign_in(page, email_of("owner"))
        await page.focus("text=English")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("Overview")
        await page.focus("text=Theme: system")
        await page.keyboard.press("Enter")
        await expect(page.locator("html[data-theme=dark]")).to_be_attached()
        await page.goto("/keys")
        await expect(page.locator("html[data-theme=dark][lang=en]")).to_be_attached()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pack_is_chosen_by_the_keyboard_alone(browser: Browser, console: ServedConsole) -> None:
    async with opened(browser, console, DESKTOP) as page:
        await sign_in(page, email_of("owner"))
        await page.goto(f"/buy/{APP}?days=365&calls=1000")
        chosen = page.locator(".card:has(input:checked) .size")
        await expect(chosen).to_contain_text("1,000次")
        await page.focus(".card input:checked")
        await page.keyboard.press("ArrowRight")
        await expect(chosen).to_contain_text("5,000次")
        outline = "getComputedStyle(document.querySelector('.card:has(input:checked)')).outlineStyle"
        assert await page.evaluate(outline) == "solid"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_purchase_at_wechat_is_checked_by_the_browser_and_recorded(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, PHONE) as page:
        await sign_in(page, email_of("owner"))
        await page.goto(f"/buy/{APP}")
        await page.click("#record summary")
        await page.fill("#calls", "250")
        await page.select_option("#validity_days", "90")
        await page.fill("#price", "7.505")
        await page.fill("#paid_at", "2024-05-02T08:30")
        await page.click("#record button")
        await expect(page.locator("#price:invalid")).to_be_focused()
        await page.fill("#price", "7.5")
        await page.click("#record button")
        await expect(page.locator("p[role=status]")).to_have_text("已记录，稍后计入剩余用量。")


@pytest.mark.asyncio(loop_scope="module")
async def test_the_guide_is_left_and_gone_on_with(browser: Browser, console: ServedConsole) -> None:
    async with opened(browser, console, PHONE, language="en") as page:
        await sign_in(page, email_of("owner"))
        await page.goto(f"/buy/{APP}?days=180")
        await page.click(".empty a")
        for name in ("assistant", "password"):
            await expect(page.locator("li[aria-current=step]")).to_have_id(f"step-{name}")
            await page.click("li[aria-current=step] button")
        await expect(page.locator("li[aria-current=step]")).to_have_id("step-sign_in")
        await page.goto("/usage")
        await page.goto(f"/buy/{APP}/guide")
        await expect(page.locator("li.done")).to_have_count(2)
        await expect(page.locator("li[aria-current=step]")).to_have_id("step-sign_in")
        await page.click("text=Begin again, for the next purchase")
        await expect(page.locator("li.done")).to_have_count(0)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_charge_notice_is_previewed_changed_and_sent_by_the_keyboard(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, PHONE) as page:
        await sign_in(page, email_of("owner"))
        await page.goto("/notices")
        await page.select_option("#app", label="Simulated app 1")
        await page.focus("form[action='/notices'] button")
        await page.keyboard.press("Enter")
        preview = page.locator("#preview-zh")
        await expect(preview).to_contain_text("每次成功调用0.026元~0.03元")
        await page.fill("#price_min", "0.028")
        await page.press("#price_min", "Enter")
        await expect(preview).to_contain_text("小程序名称：Simulated app 1\n能力名称：手机号快速验证组件")
        await expect(preview).to_contain_text("每次成功调用0.028元~0.03元")
        await page.focus("text=发送通知")
        await page.keyboard.press("Enter")
        await expect(page.locator("[role=status]")).to_have_text("通知已记录，即将发送。")
        row = page.locator("tbody tr").first
        await expect(row).to_contain_text("¥0.028–¥0.03")
        await expect(row).to_contain_text("等待写入事件日志")
        assert await barriers(page) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_the_first_run_notices_the_first_event_without_being_loaded_again(
    browser: Browser, console: ServedConsole, ledger: Ledger
) -> None:
    async with opened(browser, console, PHONE) as page:
        await sign_in(page, email_of("owner", "b"))
        await expect(page.locator("h1")).to_have_text("三步接入第一个事件")
        await expect(page.locator("#step-apps.done")).to_be_visible()
        await expect(page.locator("#waiting")).to_be_visible()
        now_ms = START_MS + DAYS * DAY_MS
        first = Entry(
            next(OFFSETS), 0, "trial_grant", now_ms, now_ms, OTHER_APP, calls=1_000, remaining=1_000
        )
        store_entries(ledger.engine.url, [first])
        await expect(page.locator("#step-event.done")).to_be_visible()
        await page.click("#onward a")
        await expect(page.locator(f"a[href^='/usage/{OTHER_APP}']")).to_be_visible()
