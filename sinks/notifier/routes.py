"""Routes: who gets which alerts, when, in which language. Pure; `routes_file.py` reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from metering.alerts import Alert
from sinks.notifier.hours import Digest, Quiet, due_ms
from sinks.notifier.records import Asked
from sinks.notifier.severity import Severity, severity_of

ChannelName = Literal["webhook", "wecom", "dingtalk", "feishu", "slack", "email"]
CHANNELS: Final[tuple[ChannelName, ...]] = ("webhook", "wecom", "dingtalk", "feishu", "slack", "email")
Language = Literal["zh", "en"]


class App(Struct, frozen=True):
    """What the file says of an app: the name that people know, and the owner who answers for it."""

    name: str = ""
    owner: str = ""


class Route(Struct, frozen=True, kw_only=True):
    """Where alerts go, and which ones. An empty tuple of a filter means: all.

    Attributes:
        name: of the route in the file.
        channel: how it is delivered.
        address: the URL, which may hold a secret and is never printed.
        secrets: signing secrets of a webhook, the newest first; the one of a Feishu robot.
        language: of the message.
        apps, owners, capabilities, alerts, severities: what the route wants.
        quiet, digest: when.
    """

    name: str
    channel: ChannelName
    address: str
    secrets: tuple[str, ...] = ()
    language: Language = "zh"
    apps: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    quiet: Quiet | None = None
    digest: Digest | None = None

    def __repr__(self) -> str:
        return f"Route({self.name!r}, {self.channel!r})"


class Routes(Struct, frozen=True):
    """The file: its apps and its routes, each by name; and the `files` of secrets that it refers to."""

    apps: Mapping[str, App] = {}
    routes: Mapping[str, Route] = {}
    files: tuple[Path, ...] = ()

    def app(self, appid: str) -> App:
        """What is said of an app; nothing, if the file does not name it."""
        return self.apps.get(appid, App())

    def wants(self, route: Route, alert: Alert) -> bool:
        """Whether an alert goes to a route."""
        filters = (
            (route.apps, alert.appid),
            (route.owners, self.app(alert.appid).owner),
            (route.capabilities, alert.capability),
            (route.alerts, alert.reason),
            (route.severities, severity_of(alert)),
        )
        return all(value in wanted for wanted, value in filters if wanted)

    def asked(self, alert: Alert, now_ms: int) -> list[Asked]:
        """Where an alert is to go, and when."""
        found = []
        for route in self.routes.values():
            if self.wants(route, alert):
                due = due_ms(now_ms, severity_of(alert), route.quiet, route.digest)
                found.append(
                    Asked(at_ms=now_ms, alert=alert, route=route.name, due_ms=due, held=due > now_ms)
                )
        return found
