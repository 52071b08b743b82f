"""Orders in a real browser: bought, paid and refunded, with the real engine's word on refunds."""

import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from dashboards.console.figures import FigurePages
from dashboards.console.order_desk import OrderDesk
from dashboards.console.order_part import OrderPart
from dashboards.console.order_work import OrderWork
from dashboards.console.orders import OrderFilter, PackOrder
from dashboards.console.plain_payments import TestPayments
from dashboards.http.pool import ReadPool
from metering.catalogue import DEFAULT
from metering.ledger import Entry
from metering.times import DAY_MS
from phonemeter.business.console_keys import OwnerKeys
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.guide import BusinessGuide
from phonemeter.business.keys import KeyStore
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.outbox import Outbox
from phonemeter.business.owners import OwnerStore
from phonemeter.reads.connection import ReadOnlyConnection
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.browsing import started_browser
from tests.dashboards.console.parts import APPS, ServedConsole, email_of, served_console
from tests.dashboards.console.test_in_chromium import DESKTOP, PHONE, WAIT_MS, barriers, opened, sign_in
from tests.real_parts import starts_real_parts
from tools.pictures.half_year_engine import store_entries

BILLING_START_MS: Final = 4_000_000_000_000
"""In October 2096, so that every pack is paid before it."""

ANSWER_S: Final = 60.0
APP: Final = APPS[0]

expect.set_options(timeout=WAIT_MS)
pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]


class PaidShop(NamedTuple):
    """A console with pages of orders, on the real engine; nothing of it runs by itself."""

    console: ServedConsole
    ledger: Ledger
    desk: OrderDesk
    work: OrderWork

    def newest(self) -> PackOrder:
        """The newest order of the owner `a`."""
        owner_id = next(
            one.owner_id for one in OwnerStore(self.console.database).every_owner() if one.name == "a"
        )
        return self.desk.orders.list_orders(owner_id, OrderFilter(limit=1))[0]

    def deliver(self, order: PackOrder, paid_ago_ms: int = 0) -> None:
        """Let the outbox's facts be published, and the pack of the order be in the ledger."""
        box = Outbox(self.console.database)
        for fact in box.waiting(100):
            box.mark_published(fact.place)
        paid_at_ms = _now_ms() - paid_ago_ms
        terms = {
            "calls": order.calls,
            "expires_at_ms": paid_at_ms + 90 * DAY_MS,
            "order_id": order.order_id,
            "paid_at_ms": paid_at_ms,
            "price_micro_yuan": order.price_micro_yuan,
            "starts_at_ms": paid_at_ms,
            "validity_days": order.validity_days,
        }
        self.store(
            order,
            paid_at_ms,
            "purchase",
            calls=order.calls,
            amount_micro_yuan=order.price_micro_yuan,
            remaining=order.calls,
            details=json.dumps(terms),
        )

    def store(self, order: PackOrder, time_ms: int, kind: Any, **fields: Any) -> None:  # noqa: ANN401 - of an entry
        """Store a line of the ledger about the order's pack."""
        offset = 20_000_000 + time.time_ns() // 1_000 % 1_000_000_000
        entry = Entry(
            offset,
            0,
            kind,
            time_ms,
            time_ms,
            order.appid,
            "quick",
            f"e{offset}",
            pack_id=order.pack_id or "",
            **fields,
        )
        store_entries(self.ledger.engine.url, [entry])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
@starts_real_parts
async def browser() -> AsyncIterator[Browser]:
    async with started_browser() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PaidShop]:
    directory = tmp_path_factory.mktemp("shop")
    url = f"sqlite:///{directory}/business.sqlite"
    pool = ReadPool(partial(ReadOnlyConnection, ledger.engine.url, ANSWER_S), 4, 100, ANSWER_S)
    with BusinessDatabase(url) as database:
        desk = OrderDesk(BusinessOrders(database), [TestPayments()], DEFAULT, BILLING_START_MS)
        keys, facts = OwnerKeys(KeyStore(database)), BusinessFacts(database)
        figures = FigurePages(pool, keys, desk, facts, "", guide=BusinessGuide(database))
        try:
            async with served_console(directory, [figures, OrderPart(desk, figures.reads)], url) as console:
                yield PaidShop(console, ledger, desk, OrderWork(desk, figures.reads))
        finally:
            pool.close()


async def bought(page: Page, shop: PaidShop) -> PackOrder:
    """Buy and pay the 250-call pack from its card to the button."""
    await page.goto(f"/buy/{APP}?capability=quick&days=90")
    await page.check("input[name=offer][value='250-90']", force=True)
    await page.click("button.primary:has-text('确认')")
    await expect(page.locator("h1")).to_have_text(f"订单 {shop.newest().order_id}")
    await page.check("input[name=terms]")
    await page.click("button:has-text('支付')")
    await page.click("button:has-text('模拟支付')")
    await expect(page.locator("#order .tag")).to_have_text("已支付")
    return shop.newest()


async def test_a_pack_is_paid_before_billing_starts_and_shown_as_delivered_without_loading(
    browser: Browser, shop: PaidShop
) -> None:
    async with opened(browser, shop.console, DESKTOP) as page:
        await sign_in(page, email_of("owner"))
        await page.goto(f"/buy/{APP}?capability=quick&days=90")
        await page.check("input[name=offer][value='250-90']", force=True)
        await page.click("button.primary:has-text('确认')")
        await expect(page.locator(".figures .first dd").first).to_have_text("¥7.50")
        await expect(page.locator(".figures")).to_contain_text("手机号快速验证组件-250次")
        await expect(page.locator(".figures")).to_contain_text("支付后 2096年10月2日 15:06 生效")
        # The browser itself asks for the terms.
        await page.click("button:has-text('支付')")
        await expect(page.locator("#order .tag")).to_have_text("待支付")
        await page.focus("input[name=terms]")
        await page.keyboard.press("Space")
        await page.keyboard.press("Enter")
        await expect(page.locator("#order .tag")).to_have_text("支付中")
        assert await barriers(page) == []
        await page.click("button:has-text('模拟支付 ¥7.50')")
        await expect(page.locator("#order .tag")).to_have_text("已支付")
        shop.deliver(shop.newest())
        await expect(page.locator("#order .tag")).to_have_text("已到账")
        await expect(page.locator("main")).to_contain_text("2096年10月2日 15:06 生效")


async def test_a_refund_is_granted_by_the_ledger_and_the_money_goes_back(
    browser: Browser, shop: PaidShop
) -> None:
    async with opened(browser, shop.console, DESKTOP) as page:
        await sign_in(page, email_of("owner"))
        order = await bought(page, shop)
        shop.deliver(order)
        await expect(page.locator("#order .tag")).to_have_text("已到账")
        await page.click("button:has-text('申请退款')")
        await expect(page.locator("#order .tag")).to_have_text("退款中")
        asked_at_ms = shop.newest().refund_asked_at_ms
        assert asked_at_ms is not None
        await shop.work.round()
        assert shop.newest().state == "refund_asked"
        shop.store(shop.newest(), asked_at_ms, "refund", calls=250, amount_micro_yuan=7_500_000)
        await shop.work.round()
        await expect(page.locator("#order .tag")).to_have_text("已退款")
        await expect(page.locator("main")).to_contain_text("支付本订单 · 已退回")


async def test_a_refund_is_refused_for_a_used_pack_for_an_old_one_and_by_the_ledger(
    browser: Browser, shop: PaidShop
) -> None:
    async with opened(browser, shop.console, PHONE) as page:
        await sign_in(page, email_of("owner"))
        used = await bought(page, shop)
        shop.deliver(used)
        shop.store(used, _now_ms(), "charge", calls=1, amount_micro_yuan=30_000, remaining=249)
        await expect(page.locator("#order .tag")).to_have_text("已到账")
        await page.click("button:has-text('申请退款')")
        await expect(page.locator(".message.warn")).to_have_text("退款被拒绝：资源包已被使用。")
        old = await bought(page, shop)
        shop.deliver(old, 8 * DAY_MS)
        await page.goto(f"/orders/{old.order_id}")
        await page.click("button:has-text('申请退款')")
        await expect(page.locator(".message.warn")).to_have_text("退款被拒绝：支付已超过 7 天。")
        raced = await bought(page, shop)
        shop.deliver(raced)
        await page.goto(f"/orders/{raced.order_id}")
        await page.click("button:has-text('申请退款')")
        asked_at_ms = shop.newest().refund_asked_at_ms
        assert asked_at_ms is not None
        shop.store(shop.newest(), asked_at_ms, "refund_refused", reason="used")
        await shop.work.round()
        await expect(page.locator(".message.warn")).to_have_text("退款被拒绝：资源包已被使用。")
        await expect(page.locator("#order .tag")).to_have_text("已到账")


async def test_an_order_of_another_owner_is_not_there_and_the_pages_have_no_barriers(
    browser: Browser, shop: PaidShop
) -> None:
    async with opened(browser, shop.console, PHONE, theme="dark", language="en") as page:
        await sign_in(page, email_of("owner"))
        await page.goto(f"/buy/{APP}?capability=quick&days=90")
        await page.check("input[name=offer][value='250-90']", force=True)
        await page.click("button.primary:has-text('Confirm')")
        for path in (f"/orders/{shop.newest().order_id}", "/orders"):
            await page.goto(path)
            assert await barriers(page) == [], path
            width: int = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], path
    context = await browser.new_context(base_url=shop.console.base, locale="zh-CN")
    try:
        other = await context.new_page()
        await sign_in(other, email_of("owner", "b"))
        answer = await other.goto(f"/orders/{shop.newest().order_id}")
        assert answer is not None
        assert answer.status == 404
        await expect(other.locator("h1")).to_have_text("页面不存在")
    finally:
        await context.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
