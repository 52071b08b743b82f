"""Invoices in a real browser: from a paid order to the saved PDF, with a title that was mistyped first."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pypdfium2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ViewportSize, expect

from metering.times import parse_time
from tests.dashboards.console.browsing import started_browser
from tests.dashboards.console.paid_orders import paid_order, refund
from tests.dashboards.console.parts import ServedConsole, email_of, served_console
from tests.dashboards.console.test_in_chromium import DESKTOP, PHONE, barriers, opened, sign_in
from tests.real_parts import starts_real_parts

COMPANY: Final = "深圳市腾讯计算机系统有限公司"
CODE: Final = "9144030071526726XG"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
@starts_real_parts
async def browser() -> AsyncIterator[Browser]:
    async with started_browser() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with served_console(tmp_path_factory.mktemp("console")) as served:
        served.add_member("operator", "a")
        yield served


async def test_an_owner_gets_the_invoice_of_a_month_that_an_operator_issues(
    browser: Browser, console: ServedConsole, tmp_path: Path
) -> None:
    orders = [paid_order(console.database), paid_order(console.database, offer=7)]
    async with opened(browser, console, DESKTOP) as page, opened(browser, console, DESKTOP) as operator:
        await sign_in(page, email_of("owner"))
        await page.click("nav >> text=发票")
        await page.click("a[href='/invoices/apply?month=2023-08']")
        await expect(page.locator("dd[lang='zh-CN']")).to_have_text("贰万捌仟零柒元伍角整")
        await page.click("text=添加抬头")
        await page.fill("#name", COMPANY)
        number, fault = page.locator("#tax_number"), page.locator("#tax-number-fault")
        await page.click("text=保存抬头")
        await expect(fault).to_have_text("企业抬头需填写税号（统一社会信用代码）。")
        await expect(number).to_be_focused()
        await number.fill("9144030071526726XH")
        await page.keyboard.press("Enter")
        await expect(fault).to_have_text("税号的校验码（最后一位）不符，请与营业执照核对。")
        await expect(number).to_have_attribute("aria-invalid", "true")
        await number.fill("9144 0300 7152 6726 xg")
        await expect(fault).to_have_text("")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("申请开票")
        await expect(page.locator("label", has_text=COMPANY)).to_contain_text(CODE)
        await page.click("button:has-text('申请开票')")
        await expect(page.locator(".head .tag")).to_have_text("待开票")

        await sign_in(operator, email_of("operator"))
        await operator.goto(page.url.removeprefix(console.base))
        await operator.click("text=确认开票")
        await expect(operator.locator(".head .tag")).to_have_text("已开票")

        await page.reload()
        async with page.expect_download() as saving:
            await page.click("text=下载 PDF")
        saved = await saving.value
        assert re.fullmatch(r"FP\d{19}\.pdf", saved.suggested_filename)
        await saved.save_as(tmp_path / "invoice.pdf")
    document = pypdfium2.PdfDocument(tmp_path / "invoice.pdf")
    text = document[0].get_textpage().get_text_bounded()
    document.close()
    assert all(part in text for part in (*orders, COMPANY, CODE, "¥28,007.50", "贰万捌仟零柒元伍角整"))


async def test_a_person_needs_no_tax_number_and_the_keyboard_is_enough(
    browser: Browser, console: ServedConsole
) -> None:
    async with opened(browser, console, PHONE) as page:
        await sign_in(page, email_of("owner"))
        await page.goto("/invoices/titles")
        fault = page.locator("#tax-number-fault")
        await page.focus("input[value='company']")
        await page.keyboard.press("ArrowRight")
        await page.fill("#name", "张三")
        await page.fill("#tax_number", CODE)
        await page.keyboard.press("Tab")
        await expect(fault).to_have_text("个人抬头无需填写税号，请留空，或将抬头类型改为企业。")
        await page.fill("#tax_number", "")
        await expect(fault).to_have_text("")
        await page.focus("button:has-text('保存抬头')")
        await page.keyboard.press("Enter")
        await expect(page.locator("tbody th", has_text="张三")).to_be_visible()


@pytest.mark.parametrize(
    ("viewport", "language", "theme", "month"),
    [(DESKTOP, "zh", "light", "2024-05"), (PHONE, "en", "dark", "2024-06")],
    ids=["desktop", "phone"],
)
async def test_no_page_of_invoices_has_serious_barriers_or_is_wider_than_the_screen(
    browser: Browser, console: ServedConsole, viewport: ViewportSize, language: str, theme: str, month: str
) -> None:
    paid_ms = parse_time(f"{month}-15T00:00:00+08:00")
    order_id = paid_order(console.database, paid_ms=paid_ms)
    async with (
        opened(browser, console, viewport, theme=theme, language=language) as page,
        opened(browser, console, viewport, theme=theme, language=language) as operator,
    ):
        found = {}

        async def look(name: str, path: str) -> None:
            seen = operator if name.startswith("operator") else page
            await seen.goto(path)
            found[name] = await barriers(seen)
            width: int = await seen.evaluate("document.documentElement.scrollWidth")
            if width > viewport["width"]:
                found[name].append(f"{width} px wide")

        await sign_in(page, email_of("owner"))
        await sign_in(operator, email_of("operator"))
        await look("titles", "/invoices/titles")
        await page.check("input[value='company']")
        await page.fill("#name", f"{COMPANY} {language}")
        await page.fill("#tax_number", CODE)
        await page.press("#tax_number", "Enter")
        await expect(page.locator("tbody th", has_text=f"{COMPANY} {language}")).to_be_visible()
        await look("list with orders", "/invoices")
        await page.click("summary")
        found["single orders"] = await barriers(page)
        await look("apply", f"/invoices/apply?month={month}")
        await page.click("form[action='/invoices/apply'] button")
        await page.wait_for_url("**/invoices/FP*")
        path = page.url.removeprefix(console.base)
        await look("operator of applied", path)
        await operator.click("form[action$='/issue'] button")
        await look("issued", path)
        refund(console.database, order_id)
        await look("operator of to be voided", path)
        await operator.fill("#reason", "refunded")
        await operator.press("#reason", "Enter")
        await expect(operator.locator("#reason")).to_have_count(0)
        await look("voided", path)
        await look("list with invoices", "/invoices")
        assert {name: what for name, what in found.items() if what} == {}
