"""How each channel delivers a message. What an address may look like is apprise's knowledge."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import apprise
from apprise.plugins.base import NotifyBase
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.email.base import NotifyEmail
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.lark import NotifyLark
from apprise.plugins.slack import NotifySlack
from apprise.plugins.wecombot import NotifyWeComBot

from metering.alerts import Alert
from sinks.notifier import robots, webhook
from sinks.notifier.bounding import Bounded
from sinks.notifier.http import is_loopback
from sinks.notifier.planning import Outcome
from sinks.notifier.robots import ROBOTS, TEXT_BYTES_MAX
from sinks.notifier.routes import App, ChannelName, Route
from sinks.notifier.wording import tell_all

LEEWAY_S: Final = 0.5
"""What has a limit of its own ends by that, which tells more."""

LONG_TEXT_BYTES_MAX: Final = 20_000
"""Of e-mails and Slack."""

PLUGINS: Final[dict[ChannelName, tuple[type[NotifyBase], ...]]] = {
    "wecom": (NotifyWeComBot,),
    "dingtalk": (NotifyDingTalk,),
    "feishu": (NotifyFeishu, NotifyLark),
    "slack": (NotifySlack,),
    "email": (NotifyEmail,),
}

EXAMPLES: Final[dict[ChannelName, str]] = {
    "webhook": "https://HOST/PATH",
    "wecom": "wecombot://KEY, or the address that WeCom shows",
    "dingtalk": "dingtalk://SECRET@TOKEN",
    "feishu": "feishu://TOKEN, or lark://TOKEN",
    "slack": "slack://TOKEN_A/TOKEN_B/TOKEN_C",
    "email": "mailtos://USER:PASSWORD@HOST?to=PERSON@HOST",
}
"""What addresses look like."""


class Message(NamedTuple):
    """What is to be delivered: its id, its alerts, and what the file says of their apps."""

    id: str
    alerts: Sequence[Alert]
    apps: Sequence[App]
    held: bool


Deliver = Callable[[Route, Message, int], Outcome]
"""Makes one attempt at the time given, in UTC milliseconds."""


def deliverer(timeout_s: float) -> Deliver:
    """What makes an attempt through whichever channel the route has, and ends within the time."""
    bounded = Bounded(timeout_s + LEEWAY_S)

    def deliver(route: Route, message: Message, now_ms: int) -> Outcome:
        return bounded.make(route.name, message.id, lambda: attempt(route, message, now_ms))

    def attempt(route: Route, message: Message, now_ms: int) -> Outcome:
        if route.channel == "webhook":
            body = webhook.body_of(message.alerts, message.apps, route, held=message.held)
            return webhook.send(route, message.id, body, timeout_s, now_ms)
        plugin = plugin_of(route.channel, route.address)
        if plugin is None:
            return Outcome(delivered=False, reason="the route's address is none of its channel")
        if isinstance(plugin, ROBOTS):
            told = tell_all(message.alerts, message.apps, route.language, TEXT_BYTES_MAX)
            return robots.send(plugin, told.text(), timeout_s, now_ms, next(iter(route.secrets), ""))
        told = tell_all(message.alerts, message.apps, route.language, LONG_TEXT_BYTES_MAX)
        return _through_apprise(plugin, told.headline, "\n".join(told.lines), timeout_s)

    return deliver


def plugin_of(channel: ChannelName, address: str) -> NotifyBase | None:
    """Apprise's plugin for an address; None if the address is not one of the channel."""
    with _listening():
        plugin = apprise.Apprise.instantiate(address, asset=apprise.AppriseAsset(http_redirects=False))
    return plugin if isinstance(plugin, PLUGINS[channel]) else None


def is_safe(channel: ChannelName, address: str) -> bool:
    """Whether what is sent there can't be read on the way."""
    scheme = urlsplit(address).scheme
    plain = scheme == "http" if channel == "webhook" else scheme == "mailto"
    return not plain or is_loopback(address)


def _through_apprise(plugin: NotifyBase, title: str, body: str, timeout_s: float) -> Outcome:
    plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_s
    with _listening() as said:
        delivered = plugin.notify(body=body, title=title, notify_type=apprise.NotifyType.WARNING)
    if delivered:
        return Outcome(delivered=True, reason="taken")
    return Outcome(delivered=False, reason=said[-1] if said else "not taken")


class _Listener(logging.Handler):
    """Keeps what apprise warns of in one thread: it tells why in its log only."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage().splitlines()[0][: robots.REASON_CHARS_MAX])


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What apprise warns of meanwhile. Its logger tells nobody else: what it says may hold an address."""
    listener = _Listener()
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.addHandler(listener)
    try:
        yield listener.said
    finally:
        logger.removeHandler(listener)
