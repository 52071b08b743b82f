"""The watch over orders in `paying`: no lost notice loses a payment, and what ended is closed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dashboards.console.orders import PackOrder
from dashboards.console.payment_watch import FIRST_MS, LAST_MS, TROUBLE_MS, PaymentWatch
from metering.times import DAY_MS, HOUR_MS
from phonemeter.business.tables import ORDERS
from tests.dashboards.wechat_pay.shop import Shop, open_shop


class Watched:
    """A shop with a watch whose clock is moved by hand."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.now_ms = 1_000_000
        self.watch = self.another_watch()

    def another_watch(self) -> PaymentWatch:
        return PaymentWatch(self.shop.console.records.orders, lambda: self.now_ms)

    async def look(self, after_ms: int = 0) -> int:
        """Look once, later: how many requests the provider got."""
        before = len(self.shop.stand_in.asked)
        self.now_ms += after_ms
        await self.watch.look()
        return len(self.shop.stand_in.asked) - before

    def expire(self, order: PackOrder) -> None:
        """Let the time of an order be over."""
        with self.shop.console.database.begin() as connection:
            connection.execute(ORDERS.update().values(expires_at_ms=1))
        assert [one.order_id for one in self.shop.orders.expire()] == [order.order_id]


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with open_shop(tmp_path) as shop:
        yield Watched(shop)


async def test_a_payment_without_a_notice_is_found(watched: Watched) -> None:
    order = await watched.shop.ordered()
    await watched.look()
    assert watched.shop.state(order) == "paying"
    watched.shop.stand_in.pay(order.order_id)
    await watched.look(FIRST_MS)
    assert watched.shop.state(order) == "paid"
    assert await watched.look(HOUR_MS) == 0


async def test_a_payment_that_was_found_is_not_counted_again_by_its_late_notice(watched: Watched) -> None:
    order = await watched.shop.ordered()
    watched.shop.stand_in.pay(order.order_id)
    await watched.look()
    status, text = await watched.shop.send(watched.shop.stand_in.notice(order.order_id))
    assert (status, "repeated" in text) == (200, True)
    assert len(watched.shop.history(order).payments) == 1


async def test_questions_about_an_order_become_rarer_but_never_end(watched: Watched) -> None:
    await watched.shop.ordered()
    pauses: list[int] = []
    since_ms = 0
    await watched.look()
    while len(pauses) < 9:
        since_ms += 1_000
        if await watched.look(1_000):
            pauses.append(since_ms)
            since_ms = 0
    assert pauses == [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, LAST_MS, LAST_MS, LAST_MS]


async def test_a_wechat_pay_that_is_away_is_asked_less_often_for_all_orders_and_told(
    watched: Watched,
) -> None:
    orders = [await watched.shop.ordered(str(number)) for number in range(3)]
    watched.shop.stand_in.faults = ["500"] * 3
    # Three attempts at one order, none at the others.
    assert await watched.look() == 3
    assert watched.watch.troubles() == []
    watched.shop.stand_in.faults = ["500"] * 3
    assert await watched.look(TROUBLE_MS) == 3
    (trouble,) = watched.watch.troubles()
    assert trouble.startswith("Payments by wechat can't be asked about: WeChat Pay answered")
    watched.shop.stand_in.pay(orders[2].order_id)
    assert await watched.look(TROUBLE_MS) == 3
    assert watched.watch.troubles() == []
    assert [watched.shop.state(one) for one in orders] == ["paying", "paying", "paid"]


async def test_a_payment_that_the_metering_refuses_holds_up_no_other(watched: Watched) -> None:
    orders = [await watched.shop.ordered(str(number)) for number in range(2)]
    for order in orders:
        watched.shop.stand_in.pay(order.order_id)
    watched.shop.stand_in.transactions[orders[0].order_id]["success_time"] = "2000-01-01T00:00:00+08:00"
    await watched.look()
    assert [watched.shop.state(one) for one in orders] == ["paying", "paid"]


async def test_a_watch_that_was_killed_is_followed_by_one_that_knows_as_much(watched: Watched) -> None:
    order = await watched.shop.ordered()
    await watched.look()
    watched.shop.stand_in.pay(order.order_id)
    watched.watch = watched.another_watch()
    await watched.look()
    assert watched.shop.state(order) == "paid"


@pytest.mark.parametrize("ending", ["expired", "cancelled"])
async def test_an_order_that_ended_is_closed_so_that_nobody_pays_it(watched: Watched, ending: str) -> None:
    order = await watched.shop.ordered()
    await watched.look()
    if ending == "expired":
        watched.expire(order)
    else:
        watched.shop.orders.cancel(watched.shop.actor, order.order_id)
    assert await watched.look(FIRST_MS) == 2
    assert watched.shop.stand_in.transactions[order.order_id]["trade_state"] == "CLOSED"
    assert await watched.look(HOUR_MS) == 0


async def test_money_that_came_as_an_order_ended_is_noted_and_goes_back(watched: Watched) -> None:
    order = await watched.shop.ordered()
    await watched.look()
    watched.shop.stand_in.pay(order.order_id)
    watched.expire(order)
    assert await watched.look(FIRST_MS) == 1
    assert [one.outcome for one in watched.shop.history(order).payments] == ["order_ended"]
    assert len(watched.shop.orders.open_returns(10)) == 1
    assert await watched.look(HOUR_MS) == 0


async def test_an_order_that_ended_while_wechat_pay_was_away_is_closed_later(watched: Watched) -> None:
    order = await watched.shop.ordered()
    await watched.look()
    watched.shop.orders.cancel(watched.shop.actor, order.order_id)
    watched.shop.stand_in.faults = ["500"] * 3
    assert await watched.look(FIRST_MS) == 3
    assert await watched.look(LAST_MS) == 2
    assert watched.shop.stand_in.transactions[order.order_id]["trade_state"] == "CLOSED"


async def test_an_order_that_can_not_be_closed_is_given_up_after_a_day(watched: Watched) -> None:
    order = await watched.shop.ordered()
    await watched.look()
    watched.shop.orders.cancel(watched.shop.actor, order.order_id)
    assert await watched.look(DAY_MS + 1) == 0
    assert await watched.look(DAY_MS) == 0


async def test_an_order_that_is_paid_in_a_way_that_is_not_set_up_any_more_is_left_alone(
    watched: Watched,
) -> None:
    await watched.shop.ordered()
    watched.shop.console.records.orders.providers = {}
    assert await watched.look() == 0
    assert watched.watch.troubles() == []
