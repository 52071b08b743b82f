"""Payments by WeChat Pay against the stand-in: begin, look, close, refund, and what is not believed."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from dashboards.console.payments import (
    PaymentNotice,
    PaymentRequest,
    PaymentUnavailableError,
    ReturnRequest,
    ReturnState,
)
from dashboards.wechat_pay.client import WechatPayClient
from dashboards.wechat_pay.key_files import read_platform_keys, read_private_key
from dashboards.wechat_pay.metrics import WechatPayMetrics
from dashboards.wechat_pay.provider import WechatPayProvider
from dashboards.wechat_pay.signatures import MerchantSigner, PlatformKeys
from metering.times import HOUR_MS, parse_time
from tests.dashboards.wechat_pay.keys import APPID, KEY_ID, MCHID, SERIAL, key_files
from tests.dashboards.wechat_pay.stand_in import PAID_AT, AnswerFault, PayStandIn, pay_stand_in
from tests.ports import free_port

ORDER = "DD2026101700000000001"
PRICE = 7_500_000
"""Micro-yuan of a pack of 250 calls."""


class Connected(NamedTuple):
    """A provider that is connected to a stand-in."""

    provider: WechatPayProvider
    stand_in: PayStandIn
    metrics: WechatPayMetrics

    def outcomes(self, name: str) -> dict[str, float]:
        """The number of requests of a name by outcome."""
        return {
            sample.labels["outcome"]: sample.value
            for family in self.metrics.requests.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["endpoint"] == name
        }


def provider_at(
    base: str, directory: Path, timeout_s: float = 60
) -> tuple[WechatPayProvider, WechatPayClient, WechatPayMetrics]:
    files = key_files(directory)
    key, certificates = read_platform_keys(files.platform_keys, "wechat_pay_platform_keys")
    metrics = WechatPayMetrics(CollectorRegistry())
    client = WechatPayClient(
        base,
        timeout_s,
        MerchantSigner(MCHID, SERIAL, read_private_key(files.private_key, "x"), time.time),
        PlatformKeys(key, KEY_ID, certificates, time.time),
        KEY_ID,
        metrics,
    )
    url = "https://console.example/pay/wechat/notify"
    return WechatPayProvider(client, MCHID, APPID, url, now_ms), client, metrics


def now_ms() -> int:
    return int(time.time() * 1_000)


@asynccontextmanager
async def connected(directory: Path, timeout_s: float = 60) -> AsyncIterator[Connected]:
    async with pay_stand_in() as (stand_in, base):
        provider, client, metrics = provider_at(base, directory, timeout_s)
        try:
            yield Connected(provider, stand_in, metrics)
        finally:
            await client.end()


def request(order: str = ORDER, amount: int = PRICE) -> PaymentRequest:
    return PaymentRequest(order, amount, "手机号快速验证组件-250次", now_ms() + HOUR_MS)


def back(transaction: str, amount: int = PRICE) -> ReturnRequest:
    return ReturnRequest("RT1", ORDER, transaction, amount)


async def paid(on: Connected) -> PaymentNotice:
    """The notice of the order, begun and paid."""
    await on.provider.begin(request())
    on.stand_in.pay(ORDER)
    notice = await on.provider.look(ORDER)
    assert notice is not None
    return notice


async def test_an_order_is_begun_with_its_amount_in_fen_and_shown_as_a_code(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        asked = request()
        offer = await on.provider.begin(asked)
        assert (offer.kind, offer.expires_at_ms) == ("qr", asked.expires_at_ms)
        assert offer.text.startswith("weixin://wxpay/bizpayurl?pr=")
        assert on.stand_in.transactions[ORDER]["amount"] == {"total": 750, "currency": "CNY"}
        assert on.stand_in.serials == [KEY_ID]


async def test_another_code_can_be_had_for_the_same_order(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        first, second = await on.provider.begin(request()), await on.provider.begin(request())
        assert first.text != second.text
        assert len(on.stand_in.transactions) == 1


async def test_the_same_order_at_another_price_is_refused_with_wechats_words(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        await on.provider.begin(request())
        with pytest.raises(PaymentUnavailableError, match=r"status 403 OUT_TRADE_NO_USED \(商户订单号重复\)"):
            await on.provider.begin(request(amount=30_000_000))


@pytest.mark.parametrize("amount", [7_505_000, 1, 0, -10_000])
async def test_an_amount_that_is_not_whole_fen_never_leaves(tmp_path: Path, amount: int) -> None:
    async with connected(tmp_path) as on:
        with pytest.raises(PaymentUnavailableError, match="whole fen only"):
            await on.provider.begin(request(amount=amount))
        assert on.stand_in.asked == []


async def test_looking_finds_nothing_before_and_the_payment_afterwards(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        assert await on.provider.look(ORDER) is None
        await on.provider.begin(request())
        assert await on.provider.look(ORDER) is None
        on.stand_in.pay(ORDER)
        transaction = on.stand_in.transactions[ORDER]["transaction_id"]
        assert await on.provider.look(ORDER) == PaymentNotice(ORDER, transaction, PRICE, parse_time(PAID_AT))


async def test_an_order_whose_money_went_back_is_not_paid(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        await on.provider.give_back(back((await paid(on)).transaction_id))
        assert on.stand_in.transactions[ORDER]["trade_state"] == "REFUND"
        assert await on.provider.look(ORDER) is None


@pytest.mark.parametrize("field", ["mchid", "appid", "out_trade_no"])
async def test_an_answer_about_another_payment_is_refused(tmp_path: Path, field: str) -> None:
    async with connected(tmp_path) as on:
        await paid(on)
        on.stand_in.transactions[ORDER][field] = "wx0000000000000000"
        with pytest.raises(PaymentUnavailableError, match=f"another payment than that of {ORDER}"):
            await on.provider.look(ORDER)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("success_time", "yesterday"),
        ("transaction_id", ""),
        ("amount", {"total": 750, "currency": "USD"}),
        ("amount", None),
    ],
)
async def test_a_payment_that_is_not_understood_is_no_payment(
    tmp_path: Path, field: str, value: object
) -> None:
    async with connected(tmp_path) as on:
        await paid(on)
        on.stand_in.transactions[ORDER][field] = value
        with pytest.raises(PaymentUnavailableError, match="look at its page"):
            await on.provider.look(ORDER)


async def test_a_closed_order_can_be_closed_again(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        await on.provider.close(ORDER)
        await on.provider.begin(request())
        await on.provider.close(ORDER)
        await on.provider.close(ORDER)
        assert on.stand_in.transactions[ORDER]["trade_state"] == "CLOSED"


async def test_an_order_that_comes_back_from_another_way_to_pay_gets_a_further_transaction(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as on:
        for _ in range(2):
            await on.provider.begin(request())
            await on.provider.close(ORDER)
        await on.provider.begin(request())
        assert await on.provider.look(ORDER) is None
        on.stand_in.pay(f"{ORDER}-3")
        notice = await on.provider.look(ORDER)
        assert notice is not None
        assert (notice.order_id, notice.amount_micro_yuan) == (ORDER, PRICE)
        assert list(on.stand_in.transactions) == [ORDER, f"{ORDER}-2", f"{ORDER}-3"]


async def test_the_way_to_pay_can_not_be_changed_without_end(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        for _ in range(9):
            await on.provider.begin(request())
            await on.provider.close(ORDER)
        with pytest.raises(PaymentUnavailableError, match="changed too often"):
            await on.provider.begin(request())
        assert await on.provider.look(ORDER) is None
        await on.provider.close(ORDER)


async def test_an_order_that_was_paid_meanwhile_is_not_closed(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        await paid(on)
        with pytest.raises(PaymentUnavailableError, match="ORDERPAID"):
            await on.provider.close(ORDER)


async def test_a_refund_is_asked_for_once_and_followed_until_the_money_is_back(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        wanted = back((await paid(on)).transaction_id)
        assert await on.provider.give_back(wanted) == "under_way"
        assert await on.provider.give_back(wanted) == "under_way"
        on.stand_in.refunds["RT1"]["status"] = "SUCCESS"
        assert await on.provider.give_back(wanted) == "returned"
        assert on.stand_in.refunds["RT1"]["amount"] == {"total": 750, "refund": 750, "currency": "CNY"}
        assert on.stand_in.asked.count("POST /v3/refund/domestic/refunds") == 1


@pytest.mark.parametrize(
    ("status", "state"), [("SUCCESS", "returned"), ("CLOSED", "by_hand"), ("ABNORMAL", "by_hand")]
)
async def test_a_refund_ends_as_wechat_pay_says(tmp_path: Path, status: str, state: ReturnState) -> None:
    async with connected(tmp_path) as on:
        wanted = back((await paid(on)).transaction_id)
        on.stand_in.refund_state = status
        assert await on.provider.give_back(wanted) == state


async def test_a_refund_of_another_amount_or_state_is_not_believed(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        wanted = back((await paid(on)).transaction_id)
        await on.provider.give_back(wanted)
        on.stand_in.refunds["RT1"]["status"] = "NEW"
        with pytest.raises(PaymentUnavailableError, match="not known"):
            await on.provider.give_back(wanted)
        on.stand_in.refunds["RT1"]["amount"]["refund"] = 1
        with pytest.raises(PaymentUnavailableError, match="another refund"):
            await on.provider.give_back(wanted)


async def test_a_refund_of_a_payment_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async with connected(tmp_path) as on:
        with pytest.raises(PaymentUnavailableError, match="status 404"):
            await on.provider.give_back(back("4200000000"))


@pytest.mark.parametrize("fault", ["500", "unsigned", "forged", "old", "probe", "silence"])
async def test_one_bad_answer_is_asked_for_again(tmp_path: Path, fault: AnswerFault) -> None:
    async with connected(tmp_path, timeout_s=2 if fault == "silence" else 60) as on:
        on.stand_in.faults = [fault]
        assert (await on.provider.begin(request())).text.startswith("weixin://")
        expected = {"500": "busy", "silence": "unreachable"}.get(fault, "untrusted")
        assert on.outcomes("begin") == {expected: 1.0, "ok": 1.0}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("500", r"^WeChat Pay answered .*/native with status 500 SYSTEM_ERROR \(系统异常，请稍后重试\)\.$"),
        ("unsigned", r"with a signature that is not WeChat Pay's \(unsigned\)"),
        ("forged", r"with a signature that is not WeChat Pay's \(forged\)"),
        ("old", r"with a signature that is not WeChat Pay's \(stale\)"),
        ("probe", r"with a signature that is not WeChat Pay's \(signature_test\)"),
        ("garbage", r"answered something that is not WeChat Pay's JSON\.$"),
        ("endless", r"answered more than 262,144 bytes\.$"),
        ("redirect", r"with status 302\.$"),
        ("silence", r"did not answer within 0\.3 s\.$"),
    ],
)
async def test_an_answer_that_stays_bad_is_told_in_a_sentence_without_a_secret(
    tmp_path: Path, fault: AnswerFault, sentence: str
) -> None:
    async with connected(tmp_path, timeout_s=0.3 if fault == "silence" else 60) as on:
        on.stand_in.faults = [fault] * 3
        with pytest.raises(PaymentUnavailableError, match=sentence):
            await on.provider.begin(request())


async def test_a_wechat_pay_that_is_away_is_told_in_a_sentence(tmp_path: Path) -> None:
    provider, client, _ = provider_at(f"http://127.0.0.1:{free_port()}", tmp_path)
    with pytest.raises(PaymentUnavailableError, match=r"^127\.0\.0\.1:\d+ can't be reached"):
        await provider.look(ORDER)
    await client.end()
