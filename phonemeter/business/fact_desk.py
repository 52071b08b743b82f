"""Facts that pages record, in the business database: the outbox as the console's protocol has it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from dashboards.console.errors import RefusedChangeError
from dashboards.console.facts import ConsoleFact, FactKind, RecordedFact, RefusedFactError
from dashboards.console.members import Actor
from metering.times import format_time, from_ms, parse_time
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.outbox import SOURCE, put
from phonemeter.business.tables import OUTBOX, OWNER_APPS
from producers.clock import wall_clock_ms
from producers.cloud_events import CloudEvent, checked_event, named_id, to_json
from producers.errors import RefusedError

LISTED_MAX: Final = 20


class BusinessFacts:
    """The facts, as the console's protocol has them."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def record(self, actor: Actor, facts: Sequence[ConsoleFact], deed: str, subject: str = "") -> None:
        """Record facts with one line in the audit trail."""
        now_ms = wall_clock_ms()
        events = [event_of(fact, now_ms) for fact in facts]
        with console_transaction(self._database) as connection:
            note(connection, actor, deed, subject)
            for event in events:
                refuse_others(connection, actor, event["subject"])
                if not put(connection, actor.owner_id, event):
                    raise RefusedChangeError("known_fact")

    def newest(self, owner_id: str, appid: str, kind: FactKind) -> Sequence[RecordedFact]:
        """The newest facts of a kind about an app."""
        chosen = (
            select(OUTBOX.c.event, OUTBOX.c.published_at_ms)
            .where(OUTBOX.c.owner_id == owner_id, OUTBOX.c.appid == appid, OUTBOX.c.kind == kind)
            .order_by(OUTBOX.c.place.desc())
            .limit(LISTED_MAX)
        )
        with console_transaction(self._database) as connection:
            rows = connection.execute(chosen).all()
        found = []
        for row in rows:
            event: dict[str, Any] = msgspec.json.decode(row.event)
            fact = ConsoleFact(kind, appid, event["data"], parse_time(event["time"]))
            found.append(RecordedFact(fact, row.published_at_ms is not None))
        return found


def event_of(fact: ConsoleFact, now_ms: int) -> CloudEvent:
    """The event of a fact, as the metering would accept it.

    Raises:
        RefusedFactError: it would not.
    """
    time_ms = now_ms if fact.time_ms is None else fact.time_ms
    data = dict(fact.data)
    try:
        return checked_event(
            fact.kind, _id_of(fact, time_ms), fact.appid, from_ms(time_ms), source=SOURCE, data=data
        )
    except RefusedError as error:
        raise RefusedFactError(str(error)) from None


def refuse_others(connection: Connection, actor: Actor, appid: str) -> None:
    """Refuse a change to an app that is not the actor's owner's.

    Raises:
        RefusedChangeError: it is not.
    """
    own = select(OWNER_APPS.c.appid).where(
        OWNER_APPS.c.appid == appid, OWNER_APPS.c.owner_id == actor.owner_id
    )
    if connection.execute(own).first() is None:
        raise RefusedChangeError("not_there")


def _id_of(fact: ConsoleFact, time_ms: int) -> str:
    """The id of a fact, for purchases and refunds the one that a back end gives them (`producers.events`)."""
    at = format_time(time_ms)
    if fact.kind == "pack.purchased":
        return named_id(fact.kind, fact.appid, str(fact.data.get("pack_id")))
    if fact.kind.startswith("pack."):
        return named_id(fact.kind, fact.appid, str(fact.data.get("pack_id")), at)
    return named_id(fact.kind, fact.appid, to_json(dict(fact.data)).decode(), at)
