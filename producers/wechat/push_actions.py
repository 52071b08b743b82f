"""The effects of a push: an event in Kafka, a reading, or a ticket that is kept."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from metering.events import Capability
from metering.times import SECOND_MS
from producers.errors import DeliveryError, RefusedError
from producers.wechat.apps import WechatApps
from producers.wechat.facts import pushed_event
from producers.wechat.metrics import PushOutcome
from producers.wechat.publisher import Publish
from producers.wechat.pushes import QUOTA, TICKET, PlatformMessage

log = logging.getLogger(__name__)

CONFIRMED_WITHIN_S: Final = 4.5
"""Time for Kafka to confirm an event: WeChat waits five seconds for an answer, and then sends it again."""

DIGITS_MAX: Final = 15

TakeTicket = Callable[[str, str], bool]
"""Takes the ticket that was pushed to a third-party platform, by its appid; True if it is the first one."""


class PushActions:
    """Acts on messages that were found to be WeChat's; `spus` are its numbers of the capabilities."""

    def __init__(
        self,
        apps: WechatApps,
        spus: Mapping[Capability, str],
        publish: Publish,
        wake: Callable[[str], None],
        take_ticket: TakeTicket,
    ) -> None:
        self._apps = apps
        self._capabilities = {spu: capability for capability, spu in spus.items()}
        self._publish = publish
        self._wake = wake
        self._take_ticket = take_ticket

    async def act(self, receiver: str, message: PlatformMessage, now_ms: int) -> PushOutcome:
        """Act on a message to a receiver, which is an app or a third-party platform."""
        if message.kind == TICKET and receiver in self._apps.components and message.ticket:
            if self._take_ticket(receiver, message.ticket):
                # Without a ticket they could not be read.
                self._wake_apps_of(receiver)
            return "ticket"
        # A platform's message names the app; an app's own need not.
        appid = message.appid or receiver
        app = self._apps.apps.get(appid)
        capability = self._capabilities.get(message.spu)
        if app is None or capability is None or capability not in app.capabilities:
            return "ignored"
        if not message.is_about_paid_calls or receiver not in {appid, app.component}:
            return "ignored"
        if message.event_type != QUOTA or not (_is_count(message.used) and _is_count(message.total)):
            # The end of a validity has no count: reading the packs tells more than the message.
            self._wake(appid)
            return "read"
        return await self._store(appid, capability, message, now_ms)

    def _wake_apps_of(self, component: str) -> None:
        for appid, app in self._apps.apps.items():
            if app.component == component:
                self._wake(appid)

    async def _store(
        self, appid: str, capability: Capability, message: PlatformMessage, now_ms: int
    ) -> PushOutcome:
        sent_at_ms = int(message.created) * SECOND_MS if _is_count(message.created) else now_ms
        event = pushed_event(appid, capability, int(message.used), int(message.total), sent_at_ms, now_ms)
        try:
            async with asyncio.timeout(CONFIRMED_WITHIN_S):
                await self._publish([event])
        except (DeliveryError, TimeoutError) as error:
            why = str(error) or "Kafka did not confirm it in time."
            log.warning("A push about %s could not be stored, WeChat sends it again: %s", appid, why)
            return "failed"
        except RefusedError as error:
            log.warning("A push about %s can't be recorded: %s", appid, error)
            return "ignored"
        finally:
            self._wake(appid)
        return "stored"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
