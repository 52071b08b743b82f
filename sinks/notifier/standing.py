"""How each alert stands on each route, as rows made while `phone-deliveries` is read. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sinks.notifier.deliveries import Deliveries, Place
from sinks.notifier.records import Acknowledged, AnyRecord, Asked, Chain, Retry


class Row(NamedTuple):
    """A row of the table `delivery_states`, whose comments say what each field means. Times are UTC ms."""

    appid: str
    alert_id: str
    route: str
    channel: str
    state: str
    attempts: int
    asked_at: int
    due_at: int
    changed_at: int
    outcome: str
    message_id: str
    acknowledged_by: str
    acknowledged_at: int | None
    log_partition: int
    log_offset: int


COLUMNS: Final = Row._fields


class Standing:
    """What is known of one partition. What was delivered is kept in a few words each, as in the notifier."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._known = Deliveries()
        self._asked: dict[str, dict[str, tuple[str, int]]] = {}
        """By alert and route: the app, and when the notifier saw the alert."""

    def read(self, offset: int, record: AnyRecord) -> Iterator[Row]:
        """Take a record in; how those alerts stand now that it is about."""
        self._known.apply(record)
        for place in list(self._concerned(record)):
            row = self._row(place, offset)
            if row is not None:
                yield row

    def erase(self, key: bytes) -> None:
        """Take in that the record of a key is gone: it is no longer followed, and stays as it stood."""
        self._known.erase(key)
        match key.decode(errors="replace").split("|"):
            case ["asked", alert, route]:
                routes = self._asked.get(alert, {})
                routes.pop(route, None)
                if not routes:
                    self._asked.pop(alert, None)

    def _concerned(self, record: AnyRecord) -> Iterator[Place]:
        match record:
            case Asked():
                alert = record.alert
                self._asked.setdefault(alert.id, {}).setdefault(record.route, (alert.appid, record.at_ms))
                yield alert.id, record.route
            case Chain():
                yield from ((alert, record.route) for alert in record.alerts)
            case Acknowledged():
                yield from ((record.alert, route) for route in self._asked.get(record.alert, ()))
            case Retry():
                chain = self._known.chains.get(record.chain)
                if chain is not None:
                    yield from ((alert, chain.route) for alert in chain.alerts)

    def _row(self, place: Place, offset: int) -> Row | None:
        alert, route = place
        found = self._asked.get(alert, {}).get(route)
        if found is None:
            return None
        appid, asked_ms = found
        said = self._known.acknowledged.get(alert)
        row = Row(
            appid=appid,
            alert_id=alert,
            route=route,
            channel="",
            state="waiting",
            attempts=0,
            asked_at=asked_ms,
            due_at=asked_ms,
            changed_at=asked_ms,
            outcome="",
            message_id="",
            acknowledged_by=said.by if said else "",
            acknowledged_at=said.at_ms if said else None,
            log_partition=self._partition,
            log_offset=offset,
        )
        pending = self._known.pending.get(place)
        if pending is not None:
            return row._replace(state="held" if pending.held else "waiting", due_at=pending.due_ms)
        chain = self._known.chains.get(self._known.chain_of.get(place, ""))
        if chain is None:
            return None
        return row._replace(
            channel=chain.channel,
            state=chain.state,
            attempts=chain.attempt,
            due_at=chain.due_ms,
            changed_at=chain.at_ms,
            outcome=chain.reason,
            message_id=chain.id,
        )
