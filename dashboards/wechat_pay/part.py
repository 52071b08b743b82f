"""WeChat Pay as a part of the console: the way to pay, and the endpoint of its notices."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.routing import Route

from dashboards.console.order_desk import OrderDesk
from dashboards.console.page_guard import ConsolePage
from dashboards.wechat_pay.client import WechatPayClient
from dashboards.wechat_pay.errors import WechatPayFileError
from dashboards.wechat_pay.key_files import read_notice_key, read_platform_keys, read_private_key
from dashboards.wechat_pay.metrics import WechatPayMetrics
from dashboards.wechat_pay.notice_endpoint import NoticeEndpoint
from dashboards.wechat_pay.notices import NoticeReader, SignatureMemory
from dashboards.wechat_pay.provider import WechatPayProvider
from dashboards.wechat_pay.settings import PREFIX, WechatPaySettings
from dashboards.wechat_pay.signatures import MerchantSigner, PlatformKeys

MS: Final = 1_000


class WechatPay:
    """Payments by WeChat Pay for one merchant.

    Attributes:
        provider: the way to pay.
        metrics: of requests and notices.

    Args:
        settings: complete ones, with a merchant.
        registry: of metrics.
        now_s: the clock.

    Raises:
        WechatPayFileError: a file of the settings can't be used.
    """

    def __init__(
        self,
        settings: WechatPaySettings,
        registry: CollectorRegistry,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        public_key, certificates = read_platform_keys(*_file(settings, "platform_keys"))
        if public_key is not None and not settings.wechat_pay_public_key_id:
            raise WechatPayFileError(
                "The file of wechat_pay_platform_keys has a public key, whose id is missing: set "
                "wechat_pay_public_key_id to what WeChat Pay shows beside the key."
            )
        key_id = settings.wechat_pay_public_key_id if public_key is not None else ""
        platform = PlatformKeys(public_key, key_id, certificates, now_s)
        mchid, appid = settings.wechat_pay_mchid, settings.wechat_pay_appid
        private_key = read_private_key(*_file(settings, "private_key"))
        notice_key = read_notice_key(*_file(settings, "notice_key"))
        self.metrics = WechatPayMetrics(registry)
        self._client = WechatPayClient(
            settings.wechat_pay_url,
            settings.wechat_pay_timeout_s,
            MerchantSigner(mchid, settings.wechat_pay_serial, private_key, now_s),
            platform,
            key_id,
            self.metrics,
        )
        self._reader = NoticeReader(platform, notice_key, mchid, appid)
        self._memory = SignatureMemory(now_s)
        self.provider = WechatPayProvider(
            self._client, mchid, appid, settings.wechat_pay_notify_url, lambda: int(now_s() * MS)
        )

    def endpoint(self, desk: OrderDesk) -> Route:
        """The endpoint of notices, which are stored by the desk."""
        return NoticeEndpoint(self._reader, self._memory, desk, self.provider.name, self.metrics).route

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """No pages: those of orders show the way to pay."""
        return ()

    def troubles(self) -> Sequence[str]:
        """No troubles: without WeChat Pay the console shows all that it has to show."""
        return ()

    async def run(self) -> None:
        """Keep the connections to WeChat Pay, until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.end()

    async def end(self) -> None:
        """End the connections to WeChat Pay."""
        await self._client.end()


def configured(settings: WechatPaySettings, registry: CollectorRegistry) -> list[WechatPay]:
    """Payments by WeChat Pay if a merchant is set; none otherwise.

    Raises:
        WechatPayFileError: a file of the settings can't be used.
    """
    return [WechatPay(settings, registry)] if settings.wechat_pay_mchid else []


def _file(settings: WechatPaySettings, name: str) -> tuple[Path, str]:
    path = getattr(settings, f"{PREFIX}{name}")
    if not isinstance(path, Path):
        raise WechatPayFileError(f"Payments by WeChat Pay need {PREFIX}{name}: set it to the file.")
    return path, f"{PREFIX}{name}"
