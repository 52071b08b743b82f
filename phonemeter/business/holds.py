"""The holds in the business database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import HOLDS
from phonemeter.errors import OperationError
from sinks.balances.holds import (
    CONFIRMED_MS_MAX,
    HOLDS_MAX,
    SEEN_MS,
    Hold,
    HoldEnd,
    HoldLimits,
    HoldRefusal,
    HoldsUnavailableError,
)

LOCKED: Final = "SELECT pg_advisory_xact_lock(hashtextextended(:appid, 7304911453))"
"""PostgreSQL's lock of an app's holds; the number is any that nothing else uses."""

OPEN_MAX: Final = 200_000
"""Limit of holds that a gateway counts."""


class HoldStore:
    """The holds. Blocking; threads may share it."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def grant(self, hold: Hold, limits: HoldLimits) -> Hold | HoldRefusal:
        """Store a hold if what is held leaves it a call. All gateways decide as one.

        Returns:
            The hold; an earlier one of the same repeat if that is the same otherwise; or why there is none.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        with self._begin() as connection:
            _lock(connection, hold)
            if hold.repeat is not None:
                repeated = select(HOLDS).where(HOLDS.c.repeat == hold.repeat)
                row = connection.execute(repeated).one_or_none()
                if row is not None:
                    return _same(_hold(row), hold)
            refusal = _refusal(connection, hold, limits)
            if refusal is None:
                connection.execute(insert(HOLDS).values(msgspec.structs.asdict(hold)))
        return refusal or hold

    def release(self, appid: str, hold_id: str, now_ms: int) -> HoldEnd:
        """Delete a hold that no event has confirmed; returns what has become of it.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        this = (HOLDS.c.hold_id == hold_id) & (HOLDS.c.appid == appid)
        with self._begin() as connection:
            unconfirmed = delete(HOLDS).where(this, HOLDS.c.event_id.is_(None), HOLDS.c.ends_at_ms > now_ms)
            if connection.execute(unconfirmed).rowcount:
                return "released"
            confirmed = select(func.count()).where(this, HOLDS.c.event_id.is_not(None))
            return "confirmed" if connection.execute(confirmed).scalar_one() else "unknown"

    def confirm(self, appid: str, hold_id: str, event_id: str, now_ms: int) -> bool:
        """Let a hold count until its event is in the balance; returns whether it was open.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        this = (HOLDS.c.hold_id == hold_id) & (HOLDS.c.appid == appid)
        open_ = (HOLDS.c.ends_at_ms > now_ms) & HOLDS.c.event_id.is_(None)
        changes = {"event_id": event_id, "ends_at_ms": now_ms + CONFIRMED_MS_MAX}
        with self._begin() as connection:
            return bool(connection.execute(update(HOLDS).where(this, open_).values(changes)).rowcount)

    def mark_seen(self, seen: Mapping[str, int], now_ms: int) -> None:
        """Note the offsets of events, by id, that are in the balance.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        with self._begin() as connection:
            for event_id, offset in seen.items():
                this = (HOLDS.c.event_id == event_id) & HOLDS.c.seen_offset.is_(None)
                changes = {"seen_offset": offset, "ends_at_ms": now_ms + SEEN_MS}
                connection.execute(update(HOLDS).where(this).values(changes))

    def open(self, now_ms: int) -> Sequence[Hold]:
        """The holds that have not ended; those that have are removed.

        Raises:
            HoldsUnavailableError: the database does not answer.
        """
        with self._begin() as connection:
            ended = select(func.count()).where(HOLDS.c.ends_at_ms <= now_ms)
            # Only a change makes others wait.
            if connection.execute(ended).scalar_one():
                connection.execute(delete(HOLDS).where(HOLDS.c.ends_at_ms <= now_ms))
            return [_hold(row) for row in connection.execute(select(HOLDS).limit(OPEN_MAX))]

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._database.begin() as connection:
                yield connection
        except OperationError as error:
            raise HoldsUnavailableError(str(error)) from None


def _lock(connection: Connection, hold: Hold) -> None:
    """Have all others wait who grant holds of the app, until the transaction ends.

    In SQLite, whoever changes something first does that.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(LOCKED), {"appid": hold.appid})
    ended = (HOLDS.c.appid == hold.appid) & (HOLDS.c.ends_at_ms <= hold.granted_at_ms)
    connection.execute(delete(HOLDS).where(ended))


def _refusal(connection: Connection, hold: Hold, limits: HoldLimits) -> HoldRefusal | None:
    not_in_balance = or_(HOLDS.c.seen_offset.is_(None), HOLDS.c.seen_offset > limits.seen_through)
    of_app = (HOLDS.c.appid == hold.appid) & not_in_balance
    held = _count(connection, of_app, HOLDS.c.capability.in_(limits.capabilities))
    if held >= limits.free:
        return "nothing_left"
    if held >= HOLDS_MAX:
        return "too_many_holds"
    if limits.store_free is not None:
        of_store = (HOLDS.c.store == hold.store) & (HOLDS.c.capability == hold.capability)
        if _count(connection, of_app, of_store) >= limits.store_free:
            return "nothing_left"
    return None


def _count(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(HOLDS).where(*conditions)).scalar_one())


def _same(earlier: Hold, hold: Hold) -> Hold | HoldRefusal:
    """An earlier hold of the same repeat, if it was asked for with the same content."""
    asked = (hold.appid, hold.capability, hold.store, hold.expires_at_ms - hold.granted_at_ms)
    given = (earlier.appid, earlier.capability, earlier.store, earlier.expires_at_ms - earlier.granted_at_ms)
    return earlier if asked == given else "repeat_differs"


def _hold(row: Row[Any]) -> Hold:
    # SQLAlchemy's names are texts of a class of their own.
    return msgspec.convert({str(name): value for name, value in row._mapping.items()}, Hold)  # noqa: SLF001
