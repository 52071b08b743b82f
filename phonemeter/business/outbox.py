"""The outbox: facts that are stored in the transaction of a change, and published to Kafka afterwards.

The ids of the events are made of what they say, so that an event that is published twice counts once. While
a fact is kept, the same one is not stored again; later the worker, which knows its id, counts it once.
"""

from collections.abc import Collection, Sequence
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, text, update

from metering.printable_text import one_line
from metering.times import DAY_MS
from phonemeter.business.audit_trail import COMMAND_LINE
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.order_rows import changed_order, locked_order
from phonemeter.business.tables import OUTBOX
from producers.clock import wall_clock_ms
from producers.cloud_events import CloudEvent, to_json

SOURCE: Final = "/phonemeter/console"
"""The `source` of these events."""

TROUBLE_CHARACTERS_MAX: Final = 254

KEPT_MS: Final = 90 * DAY_MS
"""Age from its publication at which a fact is deleted: longer than any page reads back."""

LOCKED: Final = "SELECT pg_advisory_xact_lock(hashtextextended(:appid, 7304911454))"
"""PostgreSQL's lock of an app's facts; the number is any that nothing else uses."""


class WaitingFact(Struct, frozen=True):
    """A fact that is not published yet."""

    place: int
    appid: str
    event: bytes


class OutboxBacklog(Struct, frozen=True):
    """The facts that wait: how many, since when, and what keeps the oldest one."""

    count: int
    oldest_at_ms: int | None
    trouble: str


def put(connection: Connection, owner_id: str, event: CloudEvent, order_id: str | None = None) -> bool:
    """Store an event in the transaction of a change; returns False if it is there already."""
    _lock(connection, event["subject"])
    same = select(OUTBOX.c.place).where(OUTBOX.c.event_id == event["id"])
    if connection.execute(same).first() is not None:
        return False
    row = {
        "event_id": event["id"],
        "owner_id": owner_id,
        "appid": event["subject"],
        "kind": event["type"],
        "order_id": order_id,
        "event": to_json(event).decode(),
        "created_at_ms": wall_clock_ms(),
        "published_at_ms": None,
        "trouble": "",
    }
    connection.execute(insert(OUTBOX).values(row))
    return True


class Outbox:
    """The outbox for its publisher. Blocking; each method raises OperationError if the database is away."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def waiting(self, limit: int, without: Collection[str] = ()) -> Sequence[WaitingFact]:
        """The first facts that wait, in their order, of all apps but some."""
        chosen = select(OUTBOX.c.place, OUTBOX.c.appid, OUTBOX.c.event).where(
            OUTBOX.c.published_at_ms.is_(None), OUTBOX.c.appid.not_in(without)
        )
        with self._database.begin() as connection:
            rows = connection.execute(chosen.order_by(OUTBOX.c.place).limit(limit))
            return [WaitingFact(row.place, row.appid, row.event.encode()) for row in rows]

    def mark_published(self, place: int) -> None:
        """Note that Kafka has a fact; an order whose pack it brings is active from now on."""
        this = OUTBOX.c.place == place
        with self._database.begin() as connection:
            changes = {"published_at_ms": wall_clock_ms(), "trouble": ""}
            connection.execute(update(OUTBOX).where(this, OUTBOX.c.published_at_ms.is_(None)).values(changes))
            order_id = connection.execute(select(OUTBOX.c.order_id).where(this)).scalar_one()
            if order_id is not None:
                _activate(connection, order_id)

    def delete_published(self, limit: int) -> int:
        """Delete the oldest facts that Kafka has had for long, at most so many; returns their number."""
        old = (
            select(OUTBOX.c.place)
            .where(OUTBOX.c.published_at_ms < wall_clock_ms() - KEPT_MS)
            .order_by(OUTBOX.c.published_at_ms)
            .limit(limit)
        )
        with self._database.begin() as connection:
            places = connection.execute(old).scalars().all()
            if places:
                connection.execute(delete(OUTBOX).where(OUTBOX.c.place.in_(places)))
        return len(places)

    def note_trouble(self, place: int, trouble: str) -> None:
        """Note why a fact was not published."""
        told = one_line(trouble)[:TROUBLE_CHARACTERS_MAX]
        with self._database.begin() as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.place == place).values(trouble=told))

    def backlog(self) -> OutboxBacklog:
        """The facts that wait now."""
        waits = OUTBOX.c.published_at_ms.is_(None)
        with self._database.begin() as connection:
            count, oldest = connection.execute(
                select(func.count(), func.min(OUTBOX.c.created_at_ms)).where(waits)
            ).one()
            troubled = select(OUTBOX.c.trouble).where(waits, OUTBOX.c.trouble != "")
            trouble = connection.execute(troubled.order_by(OUTBOX.c.place).limit(1)).scalar_one_or_none()
        return OutboxBacklog(count, oldest, trouble or "")


def _activate(connection: Connection, order_id: str) -> None:
    order = locked_order(connection, order_id)
    if order.state == "paid":
        changed_order(connection, order, COMMAND_LINE, "active", {"state": "active"})


def _lock(connection: Connection, appid: str) -> None:
    """Let the facts of an app be stored one after the other, so that their places are their order.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(LOCKED), {"appid": appid})
