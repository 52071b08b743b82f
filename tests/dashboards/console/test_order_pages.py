"""The pages of orders: from the order to the payment, and nothing of it by another owner."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from dashboards.console.members import Actor
from dashboards.console.order_desk import OrderDesk
from dashboards.console.order_part import OrderPart
from dashboards.console.order_question import ORDERS_A_PAGE
from dashboards.console.order_work import OrderWork
from dashboards.console.orders import PackOrder
from dashboards.console.payments import PaymentNotice, PaymentProvider
from dashboards.console.plain_payments import BankTransfer, TestPayments
from metering.catalogue import DEFAULT
from metering.times import SHANGHAI, from_ms
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.outbox import Outbox
from phonemeter.business.owners import OwnerStore
from tests.dashboards.console.parts import (
    APPS,
    BILLING_START_MS,
    OTHER_APP,
    Browser,
    Seen,
    ServedConsole,
    email_of,
    served_console,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNT = "Payee Ltd\nBank of Tests\n6222 0000 0000 0000"


class Shop(NamedTuple):
    """A console with pages of orders, and the desk behind them."""

    console: ServedConsole
    desk: OrderDesk

    def ordered(self, once: str, owner: str = "a", appid: str = APPS[0]) -> PackOrder:
        """An order of the 250-call pack, as the page of buying makes it."""
        owner_id = next(
            one.owner_id for one in OwnerStore(self.console.database).every_owner() if one.name == owner
        )
        return self.desk.orders.create(
            Actor(email_of("owner", owner), owner_id), appid, DEFAULT[0], once, "purchase"
        )

    def found(self, order: PackOrder) -> PackOrder:
        """The order as it is now."""
        history = self.desk.orders.find(order.owner_id, order.order_id)
        assert history is not None
        return history.order


@asynccontextmanager
async def opened_shop(directory: Path) -> AsyncIterator[Shop]:
    url = f"sqlite:///{directory}/business.sqlite"
    with BusinessDatabase(url) as database:
        providers: list[PaymentProvider] = [BankTransfer(ACCOUNT), TestPayments()]
        desk = OrderDesk(BusinessOrders(database), providers, DEFAULT, BILLING_START_MS)
        async with served_console(directory, [OrderPart(desk, None)], url, providers) as console:
            yield Shop(console, desk)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with opened_shop(tmp_path_factory.mktemp("shop")) as opened:
        yield opened


async def pay_by(browser: Browser, order: PackOrder, provider: str) -> Seen:
    page = f"/orders/{order.order_id}"
    return await browser.send(page, f"{page}/pay", provider=provider, terms="1")


async def test_an_order_is_paid_by_the_button_once_and_its_pack_waits_for_kafka(shop: Shop) -> None:
    order = shop.ordered("paid by the button")
    page = f"/orders/{order.order_id}"
    async with shop.console.browser(email_of("owner")) as browser:
        shown = await browser.get(page)
        for text in (
            f"订单 {order.order_id}",
            "¥7.50",
            "手机号快速验证组件-250次",
            "90 天",
            "支付后即刻生效",
            "待支付",
        ):
            assert text in shown.text, text
        paying = await pay_by(browser, order, "test")
        assert (paying.path, shop.found(order).state) == (page, "paying")
        paid = await browser.send(page, f"{page}/test-payment")
        assert (paid.path, paid.mistake) == (page, "")
        assert "已支付" in paid.text
        again = await browser.post(f"{page}/test-payment", {"form_token": paid.form_token})
        assert (again.status, again.mistake) == (409, "这笔付款已登记过，没有任何变化。")
        assert (await pay_by_form(browser, order)).status == 409
        assert (await browser.post(f"{page}/cancel", {"form_token": paid.form_token})).status == 409
    waiting = [
        fact for fact in Outbox(shop.console.database).waiting(100) if order.order_id.encode() in fact.event
    ]
    assert len(waiting) == 1


async def test_an_assigned_pack_is_told_as_one_and_its_assignment_is_cancelled_on_its_order(
    shop: Shop,
) -> None:
    database = shop.console.database
    (owner,) = (one for one in OwnerStore(database).every_owner() if one.name == "a")
    actor, store = Actor(email_of("owner"), owner.owner_id), BusinessOrders(database)
    order = store.create(actor, APPS[0], DEFAULT[0], "assigned", "assignment")
    page, outbox = f"/orders/{order.order_id}", Outbox(database)
    store.take_notice(
        "test", PaymentNotice(order.order_id, "assigned", order.price_micro_yuan, BILLING_START_MS), actor.who
    )
    (fact,) = (one for one in outbox.waiting(100) if order.order_id.encode() in one.event)
    assert b'"pack.assigned"' in fact.event
    outbox.mark_published(fact.place)
    async with shop.console.browser(email_of("owner")) as browser:
        assert "集采分配" in (await browser.get(f"/orders?search={order.order_id}")).text
        assert "取消分配</button>" in (await browser.get(page)).text
        store.ask_refund(actor, order.order_id, None)
        assert "已申请取消分配" in (await browser.get(page)).text
        store.decide_refund(order.order_id, "used")
        assert "取消分配被拒绝：资源包已被使用" in (await browser.get(page)).text


async def pay_by_form(browser: Browser, order: PackOrder) -> Seen:
    """Send the form of paying although the page has none any more."""
    page = f"/orders/{order.order_id}"
    token = (await browser.get(page)).form_token
    return await browser.post(f"{page}/pay", {"form_token": token, "provider": "test", "terms": "1"})


async def test_nothing_is_paid_without_the_terms_or_in_a_way_that_is_not_there(shop: Shop) -> None:
    order = shop.ordered("without the terms")
    page = f"/orders/{order.order_id}"
    async with shop.console.browser(email_of("owner")) as browser:
        refused = await browser.send(page, f"{page}/pay", provider="test")
        assert (refused.status, refused.mistake) == (422, "请先阅读并同意服务条款。")
        assert (await pay_by(browser, order, "alipay")).mistake == "请选择支付方式。"
        assert (await browser.send(page, f"{page}/test-payment")).status == 409
    assert shop.found(order).state == "created"


async def test_a_transfer_is_told_confirmed_by_an_operator_and_by_nobody_else(shop: Shop) -> None:
    order = shop.ordered("by transfer")
    page = f"/orders/{order.order_id}"
    operator = shop.console.add_member("operator", "a", "operator-pay@a.example")
    paid_at = datetime.now(SHANGHAI).strftime("%Y-%m-%dT%H:%M")
    fields = {"amount": "7.5", "transaction": "2026-000123", "paid_at": paid_at}
    async with shop.console.browser(email_of("owner")) as owner, shop.console.browser(operator) as browser:
        told = await pay_by(owner, order, "transfer")
        assert "Payee Ltd" in told.text
        assert f"附言：{order.order_id}" in told.text
        assert (await owner.send(page, f"{page}/confirm", **fields)).status == 403
        assert (await browser.send(page, f"{page}/pay", provider="test", terms="1")).status == 403
        for wrong in (
            {"amount": "7.505"},
            {"paid_at": "soon"},
            {"paid_at": "2999-01-01T00:00"},
            {"transaction": "a b"},
        ):
            assert (await browser.send(page, f"{page}/confirm", **{**fields, **wrong})).status == 422, wrong
        short = await browser.send(page, f"{page}/confirm", **{**fields, "amount": "7"})
        assert short.mistake == "金额与订单不符：订单仍未支付，款项将退回。"
        confirmed = await browser.send(page, f"{page}/confirm", **{**fields, "transaction": "2026-000124"})
        assert confirmed.path == page
        assert "已支付" in confirmed.text
        assert shop.found(order).paid_at_ms is not None
        await OrderWork(shop.desk, None).round()
        assert "款项待人工转账退回" in (await owner.get(page)).text
        history = shop.desk.orders.find(order.owner_id, order.order_id)
        assert history is not None
        payment = str(next(one.payment_id for one in history.payments if one.return_state == "by_hand"))
        assert (await owner.send(page, f"{page}/returned", payment=payment)).status == 403
        assert "款项已退回" in (await browser.send(page, f"{page}/returned", payment=payment)).text
        assert (await browser.send(page, f"{page}/returned", payment=payment)).status == 409
        trail = (await owner.get("/activity")).text
        assert f"确认收款，订单 {order.order_id} 2026-000124" in trail


async def test_an_order_is_cancelled_and_money_that_comes_then_goes_back(shop: Shop) -> None:
    order = shop.ordered("cancelled")
    page = f"/orders/{order.order_id}"
    async with shop.console.browser(email_of("owner")) as browser:
        await pay_by(browser, order, "test")
        assert "已取消" in (await browser.send(page, f"{page}/cancel")).text
        late = await browser.post(
            f"{page}/test-payment", {"form_token": (await browser.get(page)).form_token}
        )
        assert (late.status, late.mistake) == (409, "订单已关闭：状态不变，款项将退回。")
        await OrderWork(shop.desk, None).round()
        assert "已退回" in (await browser.get(page)).text
    assert shop.found(order).state == "cancelled"


async def test_orders_of_another_owner_are_not_there_for_any_page_or_form(shop: Shop) -> None:
    order = shop.ordered("of a")
    page = f"/orders/{order.order_id}"
    shop.console.add_member("operator", "b", "operator-b@b.example")
    for email in (email_of("owner", "b"), "operator-b@b.example"):
        async with shop.console.browser(email) as other:
            token = (await other.get("/orders")).form_token
            assert order.order_id not in (await other.get("/orders")).text
            assert order.order_id not in (await other.get("/orders/export.csv")).text
            assert (await other.get(page)).status == 404
            assert (await other.get(f"{page}/state")).status == 404
            for part in OrderPart(shop.desk, None).pages:
                if part.method == "POST":
                    path = part.path.replace("{order_id}", order.order_id)
                    fields = {
                        "form_token": token,
                        "provider": "test",
                        "terms": "1",
                        "amount": "7.5",
                        "transaction": "x",
                        "paid_at": "2026-01-01T00:00",
                    }
                    assert (await other.post(path, fields)).status in {403, 404}, path
    assert shop.found(order) == order


async def test_every_form_of_orders_needs_its_token_and_a_role(shop: Shop) -> None:
    order = shop.ordered("forms")
    viewer = shop.console.add_member("viewer", "a", "viewer-orders@a.example")
    paths = [
        part.path.replace("{order_id}", order.order_id)
        for part in OrderPart(shop.desk, None).pages
        if part.method == "POST"
    ]
    assert len(paths) == 6
    async with shop.console.browser(viewer) as browser, shop.console.browser(email_of("owner")) as owner:
        token = (await browser.get("/orders")).form_token
        for path in paths:
            assert (await browser.post(path, {"form_token": token})).status == 403, path
            assert (await owner.post(path, {})).status == 403, path
    async with shop.console.browser() as nobody:
        for path in (*paths, "/orders", f"/orders/{order.order_id}", "/orders/export.csv"):
            assert (await nobody.get(path)).path.startswith(("/sign-in", "/orders/")), path
    assert shop.found(order) == order


async def test_the_list_is_searched_filtered_and_goes_on_behind_the_last_number(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with (
        opened_shop(tmp_path_factory.mktemp("list")) as shop,
        shop.console.browser(email_of("owner")) as browser,
    ):
        assert "还没有订单" in (await browser.get("/orders")).text
        made = sorted(
            (shop.ordered(f"form {number}").order_id for number in range(ORDERS_A_PAGE + 3)), reverse=True
        )
        other = shop.ordered("other app", appid=APPS[1])
        shop.ordered("of b", "b", OTHER_APP)
        first = (await browser.get("/orders")).text
        assert other.order_id in first
        assert made[ORDERS_A_PAGE] not in first
        second = (await browser.get(f"/orders?before={made[ORDERS_A_PAGE - 2]}")).text
        assert made[ORDERS_A_PAGE - 1] in second
        assert made[0] not in second
        found = (await browser.get(f"/orders?search={APPS[1]}")).text
        assert other.order_id in found
        assert made[0] not in found
        assert "没有符合条件的订单" in (await browser.get("/orders?state=refunded")).text
        file = await browser.get("/orders/export.csv")
        rows = list(csv.reader(io.StringIO(file.text.removeprefix("\ufeff"))))
        assert len(rows) == 1 + len(made) + 1
        assert rows[0][0] == "订单"
        assert {row[0] for row in rows[1:]} == {*made, other.order_id}
        assert rows[1][3:6] == ["250", "90", "7.50"]
        assert "attachment" in file.headers["content-disposition"]


async def test_before_billing_starts_the_page_says_when_the_pack_takes_effect(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("early")
    url = f"sqlite:///{directory}/business.sqlite"
    start_ms = 4_000_000_000_000
    with BusinessDatabase(url) as database:
        desk = OrderDesk(BusinessOrders(database), [TestPayments()], DEFAULT, start_ms)
        async with (
            served_console(directory, [OrderPart(desk, None)], url) as console,
            console.browser(email_of("owner")) as browser,
        ):
            order = Shop(console, desk).ordered("early")
            starts = from_ms(start_ms).astimezone(SHANGHAI)
            told = f"支付后 {starts.year}年{starts.month}月{starts.day}日 {starts:%H:%M} 生效"
            assert told in (await browser.get(f"/orders/{order.order_id}")).text
