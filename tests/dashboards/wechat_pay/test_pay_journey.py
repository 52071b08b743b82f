"""An order in a real browser: paid by scanning its code, and the page that says so by itself."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import zxingcpp
from PIL import Image
from playwright.async_api import Browser, ViewportSize, expect

from metering.catalogue import DEFAULT
from tests.dashboards.console.browsing import started_browser
from tests.dashboards.console.parts import APPS, email_of
from tests.dashboards.console.test_in_chromium import DESKTOP, PHONE, barriers, opened, sign_in
from tests.dashboards.wechat_pay.shop import open_shop
from tests.real_parts import starts_real_parts


@pytest_asyncio.fixture
@starts_real_parts
async def browser() -> AsyncIterator[Browser]:
    async with started_browser() as started:
        yield started


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"]
)
async def test_an_order_is_paid_by_its_code(
    browser: Browser, tmp_path: Path, viewport: ViewportSize, scheme: str
) -> None:
    async with open_shop(tmp_path, with_pages=True) as shop:
        order = shop.orders.create(shop.actor, APPS[0], DEFAULT[0], "one")
        async with opened(browser, shop.console, viewport) as page:
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await sign_in(page, email_of("owner"))
            await page.goto(f"/orders/{order.order_id}")
            await page.check("input[name=provider][value=wechat]")
            await page.check("input[name=terms]")
            await page.click("form[action$='/pay'] button")
            code = page.locator("svg.qr-code")
            await expect(code).to_be_visible()
            assert await barriers(page) == []
            with Image.open(io.BytesIO(await code.screenshot())) as picture:
                found = zxingcpp.read_barcodes(picture.convert("L"))
            assert [one.text for one in found] == [shop.history(order).order.offer_text]
            assert found[0].text.startswith("weixin://wxpay/bizpayurl?pr=")
            shop.stand_in.pay(order.order_id)
            status, _text = await shop.send(shop.stand_in.notice(order.order_id))
            assert status == 200
            await expect(code).to_have_count(0)
            transaction = shop.stand_in.transactions[order.order_id]["transaction_id"]
            await expect(page.locator("body")).to_contain_text(transaction)
            assert await barriers(page) == []
