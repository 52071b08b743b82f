"""A shop for tests: a console whose orders are paid at a stand-in of WeChat Pay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from dashboards.console.members import Actor
from dashboards.console.order_desk import OrderDesk
from dashboards.console.order_part import OrderPart
from dashboards.console.orders import OrderHistory, PackOrder
from dashboards.console.payments import PaymentRequest
from dashboards.wechat_pay.part import WechatPay
from dashboards.wechat_pay.settings import WechatPaySettings
from metering.catalogue import DEFAULT
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from tests.dashboards.console.parts import APPS, BILLING_START_MS, ServedConsole, served_console
from tests.dashboards.wechat_pay.keys import APPID, KEY_ID, MCHID, SERIAL, key_files
from tests.dashboards.wechat_pay.stand_in import PayStandIn, SentNotice, pay_stand_in, send

NOTIFY = "/pay/wechat/notify"


class Shop(NamedTuple):
    """A console, its way to pay, and the stand-in that it pays at."""

    console: ServedConsole
    wechat_pay: WechatPay
    stand_in: PayStandIn

    @property
    def orders(self) -> BusinessOrders:
        """The store of orders."""
        return BusinessOrders(self.console.database)

    @property
    def actor(self) -> Actor:
        """The owner `a`, as a member who orders."""
        owner_id = next(
            one.owner_id for one in OwnerStore(self.console.database).every_owner() if one.name == "a"
        )
        return Actor("owner@a.example", owner_id)

    async def ordered(self, once: str = "one") -> PackOrder:
        """An order of 250 calls that waits for its payment by WeChat Pay."""
        order = self.orders.create(self.actor, APPS[0], DEFAULT[0], once)
        provider = self.wechat_pay.provider
        offer = await provider.begin(
            PaymentRequest(order.order_id, order.price_micro_yuan, "250次", order.expires_at_ms)
        )
        return self.orders.begin_payment(self.actor, order.order_id, provider.name, offer)

    def history(self, order: PackOrder) -> OrderHistory:
        """All that happened to an order."""
        found = self.orders.find(order.owner_id, order.order_id)
        assert found is not None
        return found

    def state(self, order: PackOrder) -> str:
        return self.history(order).order.state

    async def send(self, notice: SentNotice, **headers: str) -> tuple[int, str]:
        """Send a notice to the console."""
        return await send(f"{self.console.base}{NOTIFY}", notice, **headers)

    def notices(self) -> dict[str, float]:
        """The number of notices by outcome."""
        return {
            sample.labels["outcome"]: sample.value
            for family in self.wechat_pay.metrics.notices.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }


def pay_settings(directory: Path, base: str, **changes: object) -> WechatPaySettings:
    """Settings of the merchant of the tests."""
    files = key_files(directory)
    given = {
        "wechat_pay_mchid": MCHID,
        "wechat_pay_appid": APPID,
        "wechat_pay_serial": SERIAL,
        "wechat_pay_private_key": files.private_key,
        "wechat_pay_notice_key": files.notice_key,
        "wechat_pay_platform_keys": files.platform_keys,
        "wechat_pay_public_key_id": KEY_ID,
        "wechat_pay_notify_url": f"https://console.example{NOTIFY}",
        "wechat_pay_url": base,
        "wechat_pay_timeout_s": 60,
    }
    return WechatPaySettings(**{**given, **changes})  # type: ignore[arg-type] # checked by pydantic


@asynccontextmanager
async def open_shop(directory: Path, url: str = "", *, with_pages: bool = False) -> AsyncIterator[Shop]:
    """A shop in the block, with the pages of orders if they are asked for."""
    url = url or f"sqlite:///{directory}/business.sqlite"
    async with pay_stand_in() as (stand_in, base):
        wechat_pay = WechatPay(pay_settings(directory / "keys", base), CollectorRegistry())
        try:
            with BusinessDatabase(url) as database:
                desk = OrderDesk(BusinessOrders(database), [wechat_pay.provider], DEFAULT, BILLING_START_MS)
                async with served_console(
                    directory,
                    [OrderPart(desk, None)] if with_pages else [],
                    url,
                    [wechat_pay.provider],
                    lambda desk: [wechat_pay.endpoint(desk)],
                ) as console:
                    yield Shop(console, wechat_pay, stand_in)
        finally:
            await wechat_pay.end()
