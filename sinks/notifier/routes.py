"""Routes: the receivers of alerts, with filters, times and language. Pure.

`routes_file.py` reads those of the file; owners of apps have recipients besides (`recipients.py`).
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from metering.alert_severity import Severity, severity_of
from metering.alerts import Alert
from sinks.notifier.hours import Digest, QuietHours, due_ms
from sinks.notifier.records import DeliveryRequest

ChannelName = Literal["webhook", "wecom", "dingtalk", "feishu", "slack", "email"]
Language = Literal["zh", "en"]


class App(Struct, frozen=True):
    """An app of the file: its name for people, and its owner."""

    name: str = ""
    owner: str = ""


class Route(Struct, frozen=True, kw_only=True):
    """A receiver of alerts, filters for them (an empty one lets everything pass), and times to hold them.

    Attributes:
        address: the URL, which may contain a secret and is never printed.
        secrets: signing secrets of a webhook, the newest first; or the one of a Feishu robot.
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
    quiet: QuietHours | None = None
    digest: Digest | None = None

    def __repr__(self) -> str:
        return f"Route({self.name!r}, {self.channel!r})"


class RecipientRoutes(Struct, frozen=True):
    """The recipients of all owners: their routes by name, and by app the names of those of its owner."""

    routes: Mapping[str, Route] = {}
    by_app: Mapping[str, tuple[str, ...]] = {}

    def of_app(self, appid: str) -> Iterator[Route]:
        """The recipients of the owner of an app."""
        return (self.routes[name] for name in self.by_app.get(appid, ()))


class Routes(Struct, frozen=True):
    """The content of the file, and the recipients of owners.

    Attributes:
        apps, routes: of the file, by name.
        files: the files of secrets that it refers to.
        recipients: those of owners, each for alerts of its owner's apps only; None while they are unknown.
    """

    apps: Mapping[str, App] = {}
    routes: Mapping[str, Route] = {}
    files: tuple[Path, ...] = ()
    recipients: RecipientRoutes | None = RecipientRoutes()

    @property
    def by_name(self) -> Mapping[str, Route]:
        """The routes of the file and of owners."""
        of_owners = self.recipients.routes if self.recipients else {}
        return ChainMap({}, self.routes, of_owners)  # type: ignore[arg-type] # nothing is written

    def with_recipients(self, recipients: RecipientRoutes | None) -> "Routes":
        """The same with other recipients."""
        return msgspec.structs.replace(self, recipients=recipients)

    def app(self, appid: str) -> App:
        """The app with an appid; one without name and owner if the file does not have it."""
        return self.apps.get(appid, App())

    def wants(self, route: Route, alert: Alert) -> bool:
        """Return whether an alert passes the filters of a route."""
        filters = (
            (route.apps, alert.appid),
            (route.owners, self.app(alert.appid).owner),
            (route.capabilities, alert.capability),
            (route.alerts, alert.reason),
            (route.severities, severity_of(alert)),
        )
        return all(value in wanted for wanted, value in filters if wanted)

    def requests(self, alert: Alert, now_ms: int) -> list[DeliveryRequest]:
        """The delivery requests of an alert, one for each route that wants it."""
        found = []
        of_owner = self.recipients.of_app(alert.appid) if self.recipients else ()
        for route in chain(self.routes.values(), of_owner):
            if self.wants(route, alert):
                at_ms = due_ms(now_ms, severity_of(alert), route.quiet, route.digest)
                found.append(
                    DeliveryRequest(
                        at_ms=now_ms, alert=alert, route=route.name, due_ms=at_ms, held=at_ms > now_ms
                    )
                )
        return found
