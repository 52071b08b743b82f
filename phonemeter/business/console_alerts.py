"""The notifier's routes and log, for the console: routes shown, alerts acknowledged."""

from collections.abc import Mapping, Sequence
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
    ShownRoute,
)
from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.members import Actor
from kafka_access.access import KafkaAccess
from metering.topics import DELIVERIES
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import refuse_others
from phonemeter.business.tables import ALERT_ACKNOWLEDGEMENTS
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import partition_count
from producers.clock import wall_clock_ms
from sinks.notifier.errors import RoutesError
from sinks.notifier.kafka_log import DeliveriesPublisher
from sinks.notifier.records import Acknowledgement, DeliveryOutput
from sinks.notifier.routes import Route, Routes
from sinks.notifier.routes_file import read_routes

BY_CHARACTERS_MAX: Final = 100
"""As long as what the command line writes."""


class ConsoleAlerts:
    """Alerts, as the console's protocol has them. Blocking; threads may share it.

    Args:
        database: the business database.
        kafka: brokers of the notifier's log.
        routes_file: of the notifier; None if there is none.
    """

    def __init__(self, database: BusinessDatabase, kafka: KafkaAccess, routes_file: Path | None) -> None:
        self._database = database
        self._kafka = kafka
        self._routes_file = routes_file

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
