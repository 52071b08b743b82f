"""The service `phonemeter wechat`: reads what WeChat counts, and receives what it pushes, until stopped."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type
from tenacity.wait import wait_exponential_jitter

from http_service.service_stop import stopping_event
from metering.events import Capability
from producers.clock import wall_clock_ms
from producers.errors import UnavailableError
from producers.settings import ProducerSettings
from producers.wechat.api import WechatApi, is_loopback
from producers.wechat.app_reading import AppReading, LedgerPacks, Surroundings
from producers.wechat.apps import WechatApps
from producers.wechat.apps_file import read_apps
from producers.wechat.errors import WechatFileError
from producers.wechat.health import Health
from producers.wechat.metrics import Metrics
from producers.wechat.pack_notes import PackNotes
from producers.wechat.poller import AT_ONCE_MAX, Poller
from producers.wechat.publisher import FactPublisher, Publish
from producers.wechat.push_actions import PushActions
from producers.wechat.receiver import PushReceiver
from producers.wechat.settings import WechatSettings
from producers.wechat.tokens import Tokens
from producers.wechat.web_pages import pages, served

log = logging.getLogger(__name__)


def run(
    settings: WechatSettings,
    ledger_packs: LedgerPacks,
    cluster_of: Callable[[], str],
    around: Callable[[Publish], Publish] = lambda publish: publish,
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        settings: of the service.
        ledger_packs: reads the packs that the ledger has.
        cluster_of: reads the id of the Kafka cluster; blocking, called when Kafka answers.
        around: wraps the function that publishes, for tests that end the process there.

    Raises:
        WechatFileError: no file of apps is set, or it can't be used.
        WechatPortError: a port can't be opened.
    """
    if settings.wechat_apps is None:
        raise WechatFileError(
            "No file of apps is set: write one (docs/how-to/wechat.md), and set PHONEMETER_WECHAT_APPS "
            "(wechat_apps in phonemeter.toml) to it."
        )
    apps = read_apps(settings.wechat_apps)
    metrics = Metrics()
    health = Health(metrics, settings.wechat_poll_interval_s)
    asyncio.run(_run(_Service(settings, apps, ledger_packs, cluster_of, around, metrics, health)))
    log.info("The service for WeChat has ended.")


class _Service(NamedTuple):
    """The parts that last as long as the service."""

    settings: WechatSettings
    apps: WechatApps
    ledger_packs: LedgerPacks
    cluster_of: Callable[[], str]
    around: Callable[[Publish], Publish]
    metrics: Metrics
    health: Health


async def _run(service: _Service) -> None:
    service.metrics.judge_by(service.health.verdict)
    stopping = stopping_event(log)
    async with served(
        pages(service.metrics.registry, service.health.verdict),
        service.settings.listen_host,
        service.settings.wechat_port,
        "PHONEMETER_WECHAT_PORT",
    ):
        work = asyncio.create_task(_work(service))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        work.cancel()
        await asyncio.gather(work, return_exceptions=stopping.is_set())


async def _work(service: _Service) -> None:
    settings, apps, metrics, health = service.settings, service.apps, service.metrics, service.health
    async with (
        _publisher(settings, health) as publisher,
        # The machine's proxy is for other hosts.
        aiohttp.ClientSession(
            trust_env=not is_loopback(settings.wechat_api),
            connector=aiohttp.TCPConnector(limit=AT_ONCE_MAX),
        ) as session,
    ):
        health.cluster = await asyncio.to_thread(service.cluster_of)
        publish = service.around(publisher.publish)
        api = WechatApi(settings.wechat_api, settings.wechat_timeout_s, session, metrics)
        tokens = Tokens(api, apps)
        spus: Mapping[Capability, str] = {
            "quick": settings.wechat_spu_quick,
            "realtime": settings.wechat_spu_realtime,
        }
        shared = Surroundings(
            api, spus, apps.prices, service.ledger_packs, publish, metrics, wall_clock_ms, PackNotes(metrics)
        )
        poller = Poller(
            {appid: AppReading(app, tokens.of_app(appid), shared) for appid, app in apps.apps.items()},
            settings.wechat_poll_interval_s,
            metrics,
            health,
        )
        actions = PushActions(apps, spus, publish, poller.wake, tokens.take_ticket)
        receiver = PushReceiver(apps, actions, metrics, settings.wechat_push_age_max_s)
        async with _receiving(settings, apps, receiver):
            health.waiting_for = ""
            log.info("Reading %d app(s) at %s.", len(apps.apps), settings.wechat_api)
            await poller.run()


@asynccontextmanager
async def _receiving(
    settings: WechatSettings, apps: WechatApps, receiver: PushReceiver
) -> AsyncIterator[None]:
    """Receive pushes in the block, if anybody has a token for them."""
    if not apps.has_pushes:
        log.info("No app has a push_token: no pushes are received.")
        yield
        return
    async with served(
        receiver.application(),
        settings.wechat_push_host,
        settings.wechat_push_port,
        "PHONEMETER_WECHAT_PUSH_PORT",
    ):
        log.info(
            "Pushes are received on http://%s:%d/wechat/push/APPID.",
            settings.wechat_push_host,
            settings.wechat_push_port,
        )
        yield


@asynccontextmanager
async def _publisher(settings: ProducerSettings, health: Health) -> AsyncIterator[FactPublisher]:
    """A publisher that is connected; until Kafka answers it is asked again."""
    publisher = FactPublisher(settings)
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2),
        ):
            with attempt:
                try:
                    await publisher.connect()
                except UnavailableError as error:
                    health.waiting_for = str(error)
                    log.warning("%s Trying again.", error)
                    raise
        yield publisher
    finally:
        await asyncio.to_thread(publisher.close)
