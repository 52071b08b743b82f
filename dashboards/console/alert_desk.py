"""The desk for alerts: owners see where they go, and acknowledge one."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from dashboards.console.members import Actor


class RouteHours(NamedTuple):
    """The daily hours in which a route is quiet; urgent alerts are sent if `urgent_passes`."""

    begin: str
    end: str
    zone: str
    urgent_passes: bool


class RouteDigest(NamedTuple):
    """The time at which a route gets its alerts in one message: each `hour` or `day`, at a clock time."""

    every: str
    at: str
    urgent_passes: bool


class ShownRoute(Struct, frozen=True):
    """A route that alerts of an owner's apps may take, without its address and its secrets.

    Attributes:
        name, channel, language: as in the notifier's file.
        apps: those of the owner whose alerts it gets.
        capabilities, reasons, severities: filters; an empty one lets everything pass.
        quiet, digest: times for which it holds alerts; None if it does not.
    """

    name: str
    channel: str
    language: str
    apps: tuple[str, ...]
    capabilities: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    quiet: RouteHours | None = None
    digest: RouteDigest | None = None


class RouteTest(NamedTuple):
    """The outcome of a test message: whether the receiver took it, and its answer in words."""

    delivered: bool
    reason: str


class AlertAcknowledgement(NamedTuple):
    """The member who takes care of an alert, and the time of saying so."""

    who: str
    at_ms: int


class AlertDesk(Protocol):
    """The notifier's routes and log, for pages. Blocking.

    Each method that changes or asks the database raises RecordsUnavailableError if that, or Kafka, does not
    answer.
    """

    def routes(self, apps: Sequence[str]) -> Sequence[ShownRoute] | None:
        """The routes that alerts of these apps take; None if no file of routes can be read here."""

    def acknowledge(self, actor: Actor, appid: str, alert_id: str) -> None:
        """Acknowledge an alert of an app of the actor's owner: its deliveries end on every route.

        The first acknowledgement stays.

        Raises:
            RefusedChangeError: the app is not the owner's (`not_there`).
        """

    def acknowledgements(self, alert_ids: Sequence[str]) -> Mapping[str, AlertAcknowledgement]:
        """The acknowledgements of some alerts that were made here."""
