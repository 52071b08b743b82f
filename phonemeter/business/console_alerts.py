"""The notifier's routes and log, for the console: routes shown and tried, alerts acknowledged."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from kafka.errors import KafkaError
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from dashboards.console.alert_desk import (
    AlertAcknowledgement,
    RouteDigest,
    RouteHours,
    RouteTest,
    ShownRoute,
)
from dashboards.console.errors import RecordsUnavailableError, RefusedChangeError
from dashboards.console.members import Actor
from kafka_access.access import KafkaAccess
from metering.alerts import Alert
from metering.times import format_time
from metering.topics import DELIVERIES
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import refuse_others
from phonemeter.business.tables import ALERT_ACKNOWLEDGEMENTS
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import partition_count
from producers.clock import wall_clock_ms
from sinks.notifier.channels import Deliver, Message, deliverer
from sinks.notifier.errors import RoutesError
from sinks.notifier.kafka_log import DeliveriesPublisher
from sinks.notifier.records import Acknowledgement, DeliveryOutput
from sinks.notifier.routes import Route, Routes
from sinks.notifier.routes_file import read_routes

TESTS_MAX: Final = 10
TESTS_WINDOW_S: Final = 3_600.0
"""A group chat gets at most so many test messages of an owner within this time."""

BY_CHARACTERS_MAX: Final = 100
"""As long as what the command line writes."""

OWNERS_MAX: Final = 10_000


class ConsoleAlerts:
    """Alerts, as the console's protocol has them. Blocking; threads may share it.

    Args:
        database: the business database.
        kafka: brokers of the notifier's log.
        routes_file: of the notifier; None if there is none.
        timeout_s: of an attempt to send a test message.
        deliver: makes the attempt.
    """

    def __init__(
        self,
        database: BusinessDatabase,
        kafka: KafkaAccess,
        routes_file: Path | None,
        timeout_s: float,
        deliver: Deliver | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._kafka = kafka
        self._routes_file = routes_file
        self._deliver = deliver or deliverer(timeout_s)
        self._monotonic_s = monotonic_s
        self._tests: OrderedDict[str, deque[float]] = OrderedDict()

    def routes(self, apps: Sequence[str]) -> Sequence[ShownRoute] | None:
        """The routes that alerts of these apps take."""
        routes = self._read()
        if routes is None:
            return None
        return [
            _shown(route, wanted)
            for route in routes.routes.values()
            if (wanted := _apps_of(routes, route, apps))
        ]

    def test(self, actor: Actor, route: str, apps: Sequence[str]) -> RouteTest:
        """Send a test message through a route at once."""
        routes = self._read()
        found = None if routes is None else routes.routes.get(route)
        wanted = () if routes is None or found is None else _apps_of(routes, found, apps)
        if routes is None or found is None or not wanted:
            raise RefusedChangeError("not_there")
        self._count_test(actor.owner_id)
        with console_transaction(self._database) as connection:
            note(connection, actor, "route_tested", route)
        now_ms = wall_clock_ms()
        alert = Alert(
            id=f"test-{now_ms}-0",
            kind="alert",
            appid=wanted[0],
            capability="quick",
            reason="test",
            time=format_time(now_ms),
            remaining=0,
            pack_id="",
            details={},
        )
        message = Message(f"test_{now_ms}_{route}", [alert], [routes.app(alert.appid)], held=False)
        outcome = self._deliver(found, message, now_ms)
        return RouteTest(outcome.delivered, outcome.reason)

    def acknowledge(self, actor: Actor, appid: str, alert_id: str) -> None:
        """Acknowledge an alert; the first acknowledgement stays."""
        with console_transaction(self._database) as connection:
            refuse_others(connection, actor, appid)
        if self.acknowledgements([alert_id]):
            return
        now_ms = wall_clock_ms()
        # Kafka first, and outside of a transaction, in which others would wait for it: the notifier knows a
        # second one, so whoever is told that this failed may do it again.
        self._publish(Acknowledgement(at_ms=now_ms, alert=alert_id, by=actor.who[:BY_CHARACTERS_MAX]))
        row = {"alert_id": alert_id, "appid": appid, "who": actor.who, "at_ms": now_ms}
        with console_transaction(self._database) as connection:
            of_dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            added = of_dialect.insert(ALERT_ACKNOWLEDGEMENTS).values(row).on_conflict_do_nothing()
            first = added.returning(ALERT_ACKNOWLEDGEMENTS.c.alert_id)
            if connection.execute(first).first() is not None:
                note(connection, actor, "alert_acknowledged", f"{alert_id} {appid}")

    def acknowledgements(self, alert_ids: Sequence[str]) -> Mapping[str, AlertAcknowledgement]:
        """The acknowledgements of some alerts that were made here."""
        columns = ALERT_ACKNOWLEDGEMENTS.c
        chosen = select(columns.alert_id, columns.who, columns.at_ms).where(columns.alert_id.in_(alert_ids))
        with console_transaction(self._database) as connection:
            return {
                row.alert_id: AlertAcknowledgement(row.who, row.at_ms) for row in connection.execute(chosen)
            }

    def _publish(self, acknowledgement: Acknowledgement) -> None:
        """Publish an acknowledgement for every route: each partition has the deliveries of some."""
        try:
            partitions = partition_count(self._kafka, DELIVERIES)
            with closing(DeliveriesPublisher(self._kafka)) as publisher:
                publisher.publish(
                    [DeliveryOutput.of(acknowledgement, partition) for partition in range(partitions)]
                )
        except (KafkaError, OperationError) as error:
            raise RecordsUnavailableError(str(error)) from None

    def _read(self) -> Routes | None:
        """The routes; None without a file, or where it or a secret of it can't be read."""
        if self._routes_file is None:
            return None
        try:
            return read_routes(self._routes_file)
        except RoutesError:
            return None

    def _count_test(self, owner_id: str) -> None:
        now_s = self._monotonic_s()
        made = self._tests.setdefault(owner_id, deque())
        while made and now_s - made[0] >= TESTS_WINDOW_S:
            made.popleft()
        if len(made) >= TESTS_MAX:
            raise RefusedChangeError("too_many")
        made.append(now_s)
        self._tests.move_to_end(owner_id)
        while len(self._tests) > OWNERS_MAX:
            self._tests.popitem(last=False)


def _apps_of(routes: Routes, route: Route, apps: Sequence[str]) -> tuple[str, ...]:
    """The apps among some whose alerts pass the filters for apps of a route."""
    return tuple(
        appid
        for appid in apps
        if (not route.apps or appid in route.apps)
        and (not route.owners or routes.app(appid).owner in route.owners)
    )


def _shown(route: Route, apps: tuple[str, ...]) -> ShownRoute:
    quiet, digest = route.quiet, route.digest
    return ShownRoute(
        route.name,
        route.channel,
        route.language,
        apps,
        route.capabilities,
        route.alerts,
        tuple(route.severities),
        None
        if quiet is None
        else RouteHours(f"{quiet.begin:%H:%M}", f"{quiet.end:%H:%M}", quiet.zone.key, quiet.urgent_passes),
        None if digest is None else RouteDigest(digest.every, f"{digest.at:%H:%M}", digest.urgent_passes),
    )
