"""The stand-in before a client that is not ours: it asks, believes and decrypts as with WeChat Pay itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from wechatpayv3 import WeChatPay, WeChatPayType

from tests.dashboards.wechat_pay.keys import (
    APPID,
    KEY_ID,
    MCHID,
    NOTICE_KEY,
    SERIAL,
    private_pem,
    public_pem,
)
from tests.dashboards.wechat_pay.stand_in import PayStandIn, pay_stand_in

ORDER = "DD2026101700000000001"


class OtherClient:
    """The library `wechatpayv3`, before a stand-in."""

    def __init__(self, stand_in: PayStandIn, base: str) -> None:
        self.stand_in = stand_in
        self.library = WeChatPay(
            wechatpay_type=WeChatPayType.NATIVE,
            mchid=MCHID,
            private_key=private_pem("merchant").decode(),
            cert_serial_no=SERIAL,
            apiv3_key=NOTICE_KEY,
            appid=APPID,
            notify_url="https://console.example/pay/wechat/notify",
            public_key=public_pem("wechat").decode(),
            public_key_id=KEY_ID,
            timeout=(10, 60),
        )
        # It has no setting for its address.
        self.library._core._gate_way = base

    async def ask(self, name: str, **arguments: object) -> tuple[int, Any]:
        """Ask by one of its methods, in a thread: status and content."""
        status, text = await asyncio.to_thread(getattr(self.library, name), **arguments)
        return status, json.loads(text) if text else None

    async def pay(self) -> str:
        """Begin and pay the order; returns the number of the payment."""
        await self.ask("pay", description="250次", out_trade_no=ORDER, amount={"total": 750})
        self.stand_in.pay(ORDER)
        return str(self.stand_in.transactions[ORDER]["transaction_id"])


@pytest_asyncio.fixture
async def other() -> AsyncIterator[OtherClient]:
    async with pay_stand_in() as (stand_in, base):
        yield OtherClient(stand_in, base)


async def test_it_begins_looks_and_closes(other: OtherClient) -> None:
    status, begun = await other.ask("pay", description="250次", out_trade_no=ORDER, amount={"total": 750})
    assert (status, set(begun)) == (200, {"code_url"})
    status, found = await other.ask("query", out_trade_no=ORDER)
    assert (status, found["trade_state"]) == (200, "NOTPAY")
    assert await other.ask("close", out_trade_no=ORDER) == (204, None)
    status, found = await other.ask("query", out_trade_no="DD2026101700000000002")
    assert (status, found["code"]) == (404, "ORDER_NOT_EXIST")


async def test_it_verifies_and_decrypts_the_notice_of_a_payment(other: OtherClient) -> None:
    transaction = await other.pay()
    notice = other.stand_in.notice(ORDER)
    found = other.library.callback(notice.headers, notice.body)
    assert found["event_type"] == "TRANSACTION.SUCCESS"
    assert (found["resource"]["transaction_id"], found["resource"]["amount"]["total"]) == (transaction, 750)
    assert other.library.callback(notice.headers, notice.body + b" ") is None


async def test_it_refunds_and_decrypts_the_notice_of_the_refund(other: OtherClient) -> None:
    transaction = await other.pay()
    amount = {"refund": 750, "total": 750, "currency": "CNY"}
    status, refund = await other.ask("refund", out_refund_no="RT1", amount=amount, transaction_id=transaction)
    assert (status, refund["status"]) == (200, "PROCESSING")
    notice = other.stand_in.refund_notice("RT1")
    assert other.library.callback(notice.headers, notice.body)["resource"]["refund_status"] == "SUCCESS"
    status, refund = await other.ask("query_refund", out_refund_no="RT1")
    assert (status, refund["status"]) == (200, "SUCCESS")
