"""Money that goes back by WeChat Pay: of packs that were given back, and what no order wants."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from dashboards.console.order_work import OrderWork
from phonemeter.business.outbox import Outbox
from tests.dashboards.wechat_pay.shop import Shop, open_shop


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def publish_all(shop: Shop) -> None:
    box = Outbox(shop.console.database)
    for fact in box.waiting(10):
        box.mark_published(fact.place)


async def work(shop: Shop) -> OrderWork:
    """One round of the work on orders, by somebody who has just started."""
    made = OrderWork(shop.console.records.orders, None)
    await made.round()
    return made


async def test_a_refund_that_the_ledger_has_granted_goes_back_to_the_payer(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    await shop.send(shop.stand_in.notice(order.order_id))
    publish_all(shop)
    shop.orders.ask_refund(shop.actor, order.order_id, None)
    await work(shop)
    assert shop.stand_in.refunds == {}
    shop.orders.decide_refund(order.order_id, None)
    await work(shop)
    await work(shop)
    ((number, refund),) = shop.stand_in.refunds.items()
    assert refund["amount"] == {"total": 750, "refund": 750, "currency": "CNY"}
    assert [one.return_state for one in shop.history(order).payments] == ["under_way"]
    assert (await shop.send(shop.stand_in.refund_notice(number)))[0] == 200
    assert [one.return_state for one in shop.history(order).payments] == ["returned"]
    assert shop.state(order) == "refunded"


async def test_a_refund_whose_notice_was_lost_is_asked_about(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id, total=749)
    await shop.send(shop.stand_in.notice(order.order_id))
    await work(shop)
    ((number, refund),) = shop.stand_in.refunds.items()
    assert refund["amount"]["refund"] == 749
    shop.stand_in.refunds[number]["status"] = "SUCCESS"
    await work(shop)
    assert [one.return_state for one in shop.history(order).payments] == ["returned"]
    assert len(shop.stand_in.refunds) == 1


async def test_a_refund_while_wechat_pay_is_away_is_told_and_made_later(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id, total=749)
    await shop.send(shop.stand_in.notice(order.order_id))
    shop.stand_in.faults = ["500"] * 3
    (trouble,) = (await work(shop)).troubles()
    assert "is not given back yet: WeChat Pay answered" in trouble
    assert [one.return_state for one in shop.history(order).payments] == ["open"]
    assert (await work(shop)).troubles() == []
    assert [one.return_state for one in shop.history(order).payments] == ["under_way"]
