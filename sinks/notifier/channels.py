"""Delivery of a message through each channel. apprise defines the addresses."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import apprise
from apprise.plugins import url_to_dict
from apprise.plugins.base import NotifyBase
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.email.base import NotifyEmail
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.lark import NotifyLark
from apprise.plugins.slack import NotifySlack
from apprise.plugins.wecombot import NotifyWeComBot

from metering.alerts import Alert
from metering.times import format_time
from sinks.notifier import robots, webhook
from sinks.notifier.http import is_loopback
from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.robots import ROBOTS, TEXT_BYTES_MAX
from sinks.notifier.routes import App, ChannelName, Route
from sinks.notifier.time_limit import TimeLimit
from sinks.notifier.wording import text_of_all

LEEWAY_S: Final = 0.5
"""Time beyond the timeout for channels that keep it themselves, whose reason is more precise."""

LONG_TEXT_BYTES_MAX: Final = 20_000
"""Limit of e-mails and Slack messages."""

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
"""Forms of addresses, for error messages."""


class Message(NamedTuple):
    """A message to deliver: id, alerts, and the app of each alert. A `held` one is a digest."""

    id: str
    alerts: Sequence[Alert]
    apps: Sequence[App]
    held: bool

    @classmethod
    def to_try(cls, route: str, appid: str, app: App, now_ms: int) -> Self:
        """A message that tries a route; its alert says that it is a test."""
        alert = Alert(
            id=f"test-{now_ms}-0",
            kind="alert",
            appid=appid,
            capability="quick",
            reason="test",
            time=format_time(now_ms),
            remaining=0,
            pack_id="",
            details={},
        )
        return cls(f"test_{now_ms}_{route}", [alert], [app], held=False)


Deliver = Callable[[Route, Message, int], AttemptOutcome]
"""A function that makes one attempt, at a time in UTC milliseconds."""


def deliverer(timeout_s: float) -> Deliver:
    """A function that makes an attempt through the route's channel, and returns within the timeout."""
    limit = TimeLimit(timeout_s + LEEWAY_S)

    def deliver(route: Route, message: Message, now_ms: int) -> AttemptOutcome:
        return limit.run(route.name, message.id, lambda: attempt(route, message, now_ms))

    def attempt(route: Route, message: Message, now_ms: int) -> AttemptOutcome:
        if route.channel == "webhook":
            body = webhook.body_of(message.alerts, message.apps, route, held=message.held)
            return webhook.send(route, message.id, body, timeout_s, now_ms)
        plugin = plugin_of(route.channel, route.address)
        if plugin is None:
            return AttemptOutcome(delivered=False, reason="the route's address is none of its channel")
        if isinstance(plugin, ROBOTS):
            text = text_of_all(
                message.alerts, message.apps, route.language, TEXT_BYTES_MAX, robots.escape_tags
            )
            return robots.send(plugin, text.text(), timeout_s, now_ms, next(iter(route.secrets), ""))
        text = text_of_all(message.alerts, message.apps, route.language, LONG_TEXT_BYTES_MAX)
        return _send_by_apprise(plugin, text.headline, "\n".join(text.lines), timeout_s)

    return deliver


def plugin_of(channel: ChannelName, address: str) -> NotifyBase | None:
    """The apprise plugin of an address; None if the address is not one of the channel."""
    with _apprise_warnings():
        parsed = url_to_dict(address, secure_logging=True)  # type: ignore[no-untyped-call]
        if not parsed:
            return None
        # Plain text whatever the address asks for: HTML or Markdown in names of events would be rendered.
        parsed["format"] = apprise.NotifyFormat.TEXT
        plugin = apprise.Apprise.instantiate(parsed, asset=apprise.AppriseAsset(http_redirects=False))
    return plugin if isinstance(plugin, PLUGINS[channel]) else None


def is_safe(channel: ChannelName, address: str) -> bool:
    """Return whether messages to an address are encrypted, or stay on this machine."""
    scheme = urlsplit(address).scheme
    plain = scheme == "http" if channel == "webhook" else scheme == "mailto"
    return not plain or is_loopback(address)


def _send_by_apprise(plugin: NotifyBase, title: str, body: str, timeout_s: float) -> AttemptOutcome:
    plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_s
    with _apprise_warnings() as warnings:
        delivered = plugin.notify(
            body=body,
            title=title,
            notify_type=apprise.NotifyType.WARNING,
            body_format=apprise.NotifyFormat.TEXT,
        )
    if delivered:
        return AttemptOutcome(delivered=True, reason="taken")
    return AttemptOutcome(delivered=False, reason=warnings[-1] if warnings else "not taken")


class _WarningCollector(logging.Handler):
    """Collects apprise's warnings in one thread; it reports the reason of a failure in its log only."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.warnings.append(record.getMessage().splitlines()[0][: robots.REASON_CHARS_MAX])


@contextmanager
def _apprise_warnings() -> Iterator[list[str]]:
    """The warnings of apprise within the block. They go nowhere else, since they may contain an address."""
    collector = _WarningCollector()
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.addHandler(collector)
    try:
        yield collector.warnings
    finally:
        logger.removeHandler(collector)
