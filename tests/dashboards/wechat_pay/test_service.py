"""The service `phonemeter console` with WeChat Pay: from its settings, and across kill -9."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from dashboards.console.members import Actor
from dashboards.console.orders import PackOrder
from dashboards.console.payments import PaymentOffer, PaymentRequest
from dashboards.wechat_pay.errors import WechatPayFileError
from dashboards.wechat_pay.part import WechatPay, configured
from dashboards.wechat_pay.settings import WechatPaySettings
from metering.catalogue import DEFAULT
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from phonemeter.cli.failures import report
from phonemeter.settings import SettingsError, load, variable
from tests.dashboards.wechat_pay.keys import MCHID
from tests.dashboards.wechat_pay.shop import NOTIFY, pay_settings
from tests.dashboards.wechat_pay.stand_in import PayStandIn, pay_stand_in, send
from tests.ports import free_port
from tests.real_parts import starts_real_parts
from tests.waiting import WITHIN_S, is_served, until

APP = "wx8ff4154a2448e576"


class Service(NamedTuple):
    """The service's surroundings: its database, its variables, and the stand-in."""

    database: BusinessDatabase
    environ: dict[str, str]
    stand_in: PayStandIn
    wechat_pay: WechatPay
    base: str

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """The service as a process, killed at the end if it still runs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "phonemeter", "console", env=self.environ
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                while not await asyncio.to_thread(is_served, f"{self.base}/sign-in"):
                    assert process.returncode is None
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def ordered(self) -> PackOrder:
        """An order that waits for its payment."""
        orders, (owner,) = BusinessOrders(self.database), OwnerStore(self.database).every_owner()
        actor = Actor("li@coffee.example", owner.owner_id)
        order = orders.create(actor, APP, DEFAULT[0], "once")
        provider = self.wechat_pay.provider
        offer: PaymentOffer = await provider.begin(
            PaymentRequest(order.order_id, order.price_micro_yuan, "250次", order.expires_at_ms)
        )
        return orders.begin_payment(actor, order.order_id, provider.name, offer)

    def state(self, order: PackOrder) -> str:
        found = BusinessOrders(self.database).find(order.owner_id, order.order_id)
        assert found is not None
        return found.order.state


@pytest_asyncio.fixture
@starts_real_parts
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    url, port = f"sqlite:///{tmp_path}/business.sqlite", free_port()
    async with pay_stand_in() as (stand_in, pay_base):
        settings = pay_settings(tmp_path / "keys", pay_base)
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PHONEMETER_")},
            **{variable(name): str(value) for name, value in settings.model_dump().items()},
            "PHONEMETER_BUSINESS_DATABASE": url,
            "PHONEMETER_CONSOLE_PORT": str(port),
            "PHONEMETER_CONSOLE_METRICS_PORT": str(free_port()),
            # Neither is there: what is paid must not depend on them.
            "PHONEMETER_KAFKA": "127.0.0.1:1",
            "PHONEMETER_CLICKHOUSE": "clickhouse://default@127.0.0.1:1/phonemeter",
        }
        wechat_pay = WechatPay(settings, CollectorRegistry())
        with BusinessDatabase(url) as database:
            OwnerStore(database).add("Coffee", [APP])
            yield Service(database, environ, stand_in, wechat_pay, f"http://127.0.0.1:{port}")
        await wechat_pay.end()


async def test_the_service_takes_notices_and_has_their_metrics(service: Service) -> None:
    order = await service.ordered()
    service.stand_in.pay(order.order_id)
    async with service.running():
        status, _text = await send(f"{service.base}{NOTIFY}", service.stand_in.notice(order.order_id))
        assert status == 200
        # By its notice, or by the question that the service asks from its start.
        assert service.state(order) in {"paid", "active"}


async def test_a_payment_while_the_service_was_killed_is_found_by_the_next_one(service: Service) -> None:
    order = await service.ordered()
    async with service.running() as process:
        await until(lambda: len(service.stand_in.asked) > 1)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    service.stand_in.pay(order.order_id)
    assert service.state(order) == "paying"
    async with service.running():
        await until(lambda: service.state(order) in {"paid", "active"})


def test_a_merchant_of_whom_something_is_missing_is_refused_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHONEMETER_WECHAT_PAY_MCHID", MCHID)
    monkeypatch.setenv("PHONEMETER_WECHAT_PAY_APPID", APP)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == (
        "Payments by WeChat Pay need wechat_pay_serial, wechat_pay_private_key, wechat_pay_notice_key, "
        "wechat_pay_platform_keys, wechat_pay_notify_url beside wechat_pay_mchid: set what is missing, or "
        "unset wechat_pay_mchid."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mchid", "merchant"),
        ("appid", "8888"),
        ("serial", "xyz"),
        ("public_key_id", "01"),
        ("notify_url", "https://console.example/pay/wechat/notify?a=1"),
        ("notify_url", "https://console.example/elsewhere"),
        ("url", "api.mch.weixin.qq.com"),
    ],
)
def test_a_setting_that_can_not_be_right_is_refused_with_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable(f"wechat_pay_{name}"), value)
    with pytest.raises(SettingsError, match=rf"wechat_pay_{name} in phonemeter.toml\) is .*; it should be "):
        load()


def test_without_a_merchant_there_are_no_payments_by_wechat_pay() -> None:
    assert configured(WechatPaySettings(), CollectorRegistry()) == []


def test_keys_that_others_may_read_stop_the_service_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = pay_settings(tmp_path, "http://127.0.0.1:1")
    assert settings.wechat_pay_notice_key is not None
    settings.wechat_pay_notice_key.chmod(0o644)
    with pytest.raises(WechatPayFileError) as caught:
        configured(settings, CollectorRegistry())
    assert report(caught.value) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_a_public_key_without_its_id_is_refused(tmp_path: Path) -> None:
    settings = pay_settings(tmp_path, "http://127.0.0.1:1", wechat_pay_public_key_id="")
    with pytest.raises(WechatPayFileError, match="set wechat_pay_public_key_id"):
        configured(settings, CollectorRegistry())
