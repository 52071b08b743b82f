"""Notices of payments and refunds at a console: each right one counts once, each wrong one is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.payments import PaymentRequest, ReturnRequest
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.outbox import Outbox
from tests.business_databases import postgresql
from tests.dashboards.wechat_pay.shop import NOTIFY, Shop, open_shop
from tests.dashboards.wechat_pay.stand_in import SentNotice, notice_body, sealed, signed
from tests.real_parts import starts_real_parts


@pytest.fixture
@starts_real_parts
def postgresql_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


async def test_an_order_is_paid_by_its_notice_and_its_pack_is_in_the_outbox(shop: Shop) -> None:
    order = await shop.ordered()
    assert order.offer_text is not None
    assert order.offer_text.startswith("weixin://wxpay/")
    shop.stand_in.pay(order.order_id)
    status, text = await shop.send(shop.stand_in.notice(order.order_id))
    assert (status, json.loads(text)["code"]) == (200, "SUCCESS")
    assert shop.state(order) == "paid"
    (waiting,) = Outbox(shop.console.database).waiting(10)
    event = json.loads(waiting.event)
    assert (event["type"], event["data"]["price_micro_yuan"]) == ("pack.purchased", 7_500_000)
    assert event["data"]["paid_at"] == "2024-06-03T10:05:03.000Z"


async def test_a_notice_that_comes_again_changes_nothing(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    for _ in range(3):
        status, _text = await shop.send(shop.stand_in.notice(order.order_id))
        assert status == 200
    assert len(shop.history(order).payments) == 1
    assert len(Outbox(shop.console.database).waiting(10)) == 1
    assert shop.notices() == {"accepted": 1, "repeated": 2}


async def test_many_notices_at_once_are_one_payment(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    answers = await asyncio.gather(*(shop.send(shop.stand_in.notice(order.order_id)) for _ in range(8)))
    assert {status for status, _ in answers} == {200}
    assert shop.notices() == {"accepted": 1, "repeated": 7}


async def test_many_notices_at_once_are_one_payment_in_postgresql_too(
    postgresql_url: str, tmp_path: Path
) -> None:
    async with open_shop(tmp_path, postgresql_url) as shop:
        order = await shop.ordered()
        shop.stand_in.pay(order.order_id)
        answers = await asyncio.gather(*(shop.send(shop.stand_in.notice(order.order_id)) for _ in range(8)))
        assert {status for status, _ in answers} == {200}
        assert shop.notices() == {"accepted": 1, "repeated": 7}
        assert len(Outbox(shop.console.database).waiting(10)) == 1


async def test_a_notice_of_a_further_transaction_pays_its_order(shop: Shop) -> None:
    order = await shop.ordered()
    provider = shop.wechat_pay.provider
    await provider.close(order.order_id)
    await provider.begin(PaymentRequest(order.order_id, order.price_micro_yuan, "250次", order.expires_at_ms))
    number = f"{order.order_id}-2"
    shop.stand_in.pay(number)
    assert (await shop.send(shop.stand_in.notice(number)))[0] == 200
    assert shop.state(order) == "paid"


async def test_a_replayed_notice_is_refused_and_a_new_one_of_the_same_payment_taken(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    notice = shop.stand_in.notice(order.order_id)
    assert (await shop.send(notice))[0] == 200
    status, text = await shop.send(notice)
    assert (status, json.loads(text)) == (409, {"code": "FAIL", "message": "replayed"})
    assert (await shop.send(shop.stand_in.notice(order.order_id)))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status", "fault"),
    [
        ({"Wechatpay-Signature": "AAAA"}, 401, "forged"),
        ({"Wechatpay-Signature": "WECHATPAY/SIGNTEST/AAAA"}, 401, "signature_test"),
        ({"Wechatpay-Signature": ""}, 401, "unsigned"),
        ({"Wechatpay-Timestamp": "1700000000"}, 401, "stale"),
        ({"Wechatpay-Nonce": "another"}, 401, "forged"),
        ({"Wechatpay-Serial": "PUB_KEY_ID_0"}, 401, "unknown_serial"),
    ],
    ids=["forged", "probe", "unsigned", "stale", "nonce", "serial"],
)
async def test_a_notice_that_wechat_pay_has_not_signed_now_is_refused(
    shop: Shop, headers: dict[str, str], status: int, fault: str
) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    answered, text = await shop.send(shop.stand_in.notice(order.order_id), **headers)
    assert (answered, json.loads(text)) == (status, {"code": "FAIL", "message": fault})
    assert shop.state(order) == "paying"
    assert shop.notices() == {fault: 1}


async def test_a_notice_of_a_stranger_is_refused(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    body = shop.stand_in.notice(order.order_id).body
    for forged in (SentNotice(signed(body, key="stranger"), body), SentNotice(signed(body + b" "), body)):
        assert (await shop.send(forged))[0] == 401
    assert shop.state(order) == "paying"


@pytest.mark.parametrize(
    ("field", "value", "status", "fault"),
    [
        ("mchid", "1900000999", 403, "other_merchant"),
        ("appid", "wx0000000000000000", 403, "other_app"),
        ("out_trade_no", "DD0000000000000000000", 404, "unknown_order"),
        ("amount", {"total": 750, "currency": "USD"}, 400, "amount"),
        ("amount", None, 400, "amount"),
        ("success_time", "", 400, "amount"),
        ("mchid", 7, 400, "unreadable"),
        ("success_time", "2000-01-01T00:00:00+08:00", 400, "unreadable"),
    ],
    ids=["merchant", "app", "order", "currency", "no amount", "no time", "no text", "before all"],
)
async def test_a_notice_about_something_else_than_our_orders_is_refused(
    shop: Shop, field: str, value: object, status: int, fault: str
) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    answered, text = await shop.send(shop.stand_in.notice(order.order_id, **{field: value}))
    assert (answered, json.loads(text)["message"]) == (status, fault)
    assert shop.state(order) == "paying"


async def test_a_wrong_amount_pays_nothing_is_told_on_the_order_and_goes_back(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id, total=749)
    status, text = await shop.send(shop.stand_in.notice(order.order_id))
    assert (status, json.loads(text)["message"]) == (200, "wrong_amount")
    history = shop.history(order)
    assert history.order.state == "paying"
    assert [(one.amount_micro_yuan, one.outcome) for one in history.payments] == [(7_490_000, "wrong_amount")]
    assert "wrong_amount" in [one.what for one in history.steps]
    assert [one.order_id for one in shop.orders.open_returns(10)] == [order.order_id]
    assert Outbox(shop.console.database).waiting(10) == []


async def test_a_notice_for_a_cancelled_order_brings_no_pack_and_goes_back(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    shop.orders.cancel(shop.actor, order.order_id)
    status, text = await shop.send(shop.stand_in.notice(order.order_id))
    assert (status, json.loads(text)["message"]) == (200, "order_ended")
    assert shop.state(order) == "cancelled"
    assert len(shop.orders.open_returns(10)) == 1


async def test_a_notice_that_could_not_be_stored_is_taken_when_it_comes_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    notice = shop.stand_in.notice(order.order_id)

    def fail(*_arguments: object) -> None:
        raise RecordsUnavailableError("The business database does not answer.")

    with monkeypatch.context() as away:
        away.setattr(BusinessOrders, "take_notice", fail)
        assert (await shop.send(notice))[0] == 503
        assert shop.state(order) == "paying"
    assert (await shop.send(notice))[0] == 200
    assert shop.state(order) == "paid"
    assert shop.notices() == {"failed": 1, "accepted": 1}


async def test_a_notice_about_something_else_is_answered_and_left_alone(shop: Shop) -> None:
    body = notice_body("PAYSCORE.USER_PAID", sealed({"mchid": "1"}, "payscore"))
    assert (await shop.send(SentNotice(signed(body), body)))[0] == 200
    assert shop.notices() == {"ignored": 1}


async def test_a_notice_that_is_too_large_is_refused_before_it_is_read(shop: Shop) -> None:
    body = b"x" * 70_000
    assert (await shop.send(SentNotice(signed(body), body)))[0] == 413
    assert shop.notices() == {"too_large": 1}


async def test_only_notices_are_taken_and_no_session_is_asked_for(shop: Shop) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{shop.console.base}{NOTIFY}") as answer:
            assert answer.status == 405
        async with session.post(f"{shop.console.base}{NOTIFY}", data=b"{}") as answer:
            assert answer.status == 401
            assert answer.headers["cache-control"] == "no-store"
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(("status", "state"), [("SUCCESS", "returned"), ("ABNORMAL", "by_hand")])
async def test_the_notice_of_a_refund_says_that_the_money_is_back(
    shop: Shop, status: str, state: str
) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    shop.orders.cancel(shop.actor, order.order_id)
    await shop.send(shop.stand_in.notice(order.order_id))
    (payment,) = shop.orders.open_returns(10)
    request = ReturnRequest("RT1", order.order_id, payment.transaction_id, payment.amount_micro_yuan)
    assert await shop.wechat_pay.provider.give_back(request) == "under_way"
    for _ in range(2):
        assert (await shop.send(shop.stand_in.refund_notice("RT1", status)))[0] == 200
    assert [one.return_state for one in shop.history(order).payments] == [state]
    assert shop.notices()["refund"] == 2


async def test_the_notice_of_a_refund_of_another_amount_is_refused(shop: Shop) -> None:
    order = await shop.ordered()
    shop.stand_in.pay(order.order_id)
    shop.orders.cancel(shop.actor, order.order_id)
    await shop.send(shop.stand_in.notice(order.order_id))
    (payment,) = shop.orders.open_returns(10)
    await shop.wechat_pay.provider.give_back(
        ReturnRequest("RT1", order.order_id, payment.transaction_id, payment.amount_micro_yuan)
    )
    shop.stand_in.refunds["RT1"]["amount"]["refund"] = 1
    assert (await shop.send(shop.stand_in.refund_notice("RT1")))[0] == 400
    assert [one.return_state for one in shop.history(order).payments] == ["open"]
