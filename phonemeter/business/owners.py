"""Owners of apps in the business database: added, listed, and given their apps."""

import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from dashboards.console.members import Actor
from phonemeter.business.audit_trail import COMMAND_LINE, note
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import MEMBERSHIPS, OWNER_APPS, OWNERS
from phonemeter.errors import UserError
from producers.clock import wall_clock_ms

OWNERS_MAX: Final = 10_000
APPS_MAX: Final = 5_000
"""Apps of one owner."""


class OwnerRecord(msgspec.Struct, frozen=True):
    """An owner with its apps."""

    owner_id: str
    name: str
    created_at_ms: int
    apps: tuple[str, ...]
    members: int


class OwnerStore:
    """The owners. Blocking; each method raises OperationError if the database does not answer."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def add(self, name: str, apps: Sequence[str]) -> str:
        """Add an owner with its apps; returns its id.

        Raises:
            UserError: there is one of this name, or there are too many, or an app has an owner.
        """
        with self._database.begin() as connection:
            if connection.execute(select(OWNERS).where(OWNERS.c.name == name)).first():
                raise UserError(f"There is an owner {name!r} already; add apps with: phonemeter owners apps")
            if connection.execute(select(func.count()).select_from(OWNERS)).scalar_one() >= OWNERS_MAX:
                raise UserError(f"There are {OWNERS_MAX:,} owners already.")
            owner_id = secrets.token_hex(8)
            row = {"owner_id": owner_id, "name": name, "created_at_ms": wall_clock_ms()}
            connection.execute(insert(OWNERS).values(row))
            note(connection, Actor(COMMAND_LINE, owner_id), "owner_added", name)
            _add_apps(connection, owner_id, apps)
        return owner_id

    def change_apps(self, name: str, added: Sequence[str], removed: Sequence[str]) -> OwnerRecord:
        """Give apps to an owner, and take apps from it.

        Raises:
            UserError: there is no such owner, or an app has another.
        """
        with self._database.begin() as connection:
            owner_id = found_owner(connection, name)
            if removed:
                of_owner = (OWNER_APPS.c.owner_id == owner_id) & OWNER_APPS.c.appid.in_(removed)
                connection.execute(delete(OWNER_APPS).where(of_owner))
                note(connection, Actor(COMMAND_LINE, owner_id), "apps_changed", _shown("-", removed))
            _add_apps(connection, owner_id, added)
            return next(one for one in _all_owners(connection) if one.owner_id == owner_id)

    def every_owner(self) -> list[OwnerRecord]:
        """All owners, by name."""
        with self._database.begin() as connection:
            return _all_owners(connection)


def found_owner(connection: Connection, name: str) -> str:
    """The id of the owner of a name.

    Raises:
        UserError: there is none.
    """
    found = connection.execute(select(OWNERS.c.owner_id).where(OWNERS.c.name == name)).scalar_one_or_none()
    if found is None:
        raise UserError(f"There is no owner {name[:64]!r}; list them with: phonemeter owners list")
    return str(found)


def apps_of(connection: Connection, owner_id: str) -> tuple[str, ...]:
    """The apps of an owner."""
    chosen = select(OWNER_APPS.c.appid).where(OWNER_APPS.c.owner_id == owner_id).order_by(OWNER_APPS.c.appid)
    return tuple(connection.execute(chosen).scalars())


def lock_owner(connection: Connection, owner_id: str) -> None:
    """Let such changes to the records of an owner come one after the other.

    By a statement that writes: SQLite begins a transaction only with one.
    """
    of_owner = OWNERS.c.owner_id == owner_id
    connection.execute(update(OWNERS).where(of_owner).values(name=OWNERS.c.name))


def _add_apps(connection: Connection, owner_id: str, apps: Sequence[str]) -> None:
    if not apps:
        return
    owned = select(OWNER_APPS.c.appid, OWNER_APPS.c.owner_id).where(OWNER_APPS.c.appid.in_(apps))
    owners = {str(appid): str(owner) for appid, owner in connection.execute(owned)}
    taken = next((appid for appid, owner in owners.items() if owner != owner_id), None)
    if taken is not None:
        raise UserError(
            f"The app {taken} has another owner; take it from that one first: phonemeter owners apps"
        )
    new = sorted(set(apps) - owners.keys())
    if len(apps_of(connection, owner_id)) + len(new) > APPS_MAX:
        raise UserError(f"An owner has at most {APPS_MAX:,} apps.")
    if new:
        now_ms = wall_clock_ms()
        rows = [{"appid": appid, "owner_id": owner_id, "added_at_ms": now_ms} for appid in new]
        connection.execute(insert(OWNER_APPS), rows)
        note(connection, Actor(COMMAND_LINE, owner_id), "apps_changed", _shown("+", new))


def _all_owners(connection: Connection) -> list[OwnerRecord]:
    apps: dict[str, list[str]] = {}
    for appid, owner_id in connection.execute(
        select(OWNER_APPS.c.appid, OWNER_APPS.c.owner_id).order_by(OWNER_APPS.c.appid)
    ):
        apps.setdefault(owner_id, []).append(appid)
    counts = select(MEMBERSHIPS.c.owner_id, func.count()).group_by(MEMBERSHIPS.c.owner_id)
    members = {str(owner_id): int(count) for owner_id, count in connection.execute(counts)}
    return [
        OwnerRecord(
            row.owner_id,
            row.name,
            row.created_at_ms,
            tuple(apps.get(row.owner_id, ())),
            members.get(row.owner_id, 0),
        )
        for row in connection.execute(select(OWNERS).order_by(OWNERS.c.name))
    ]


def _shown(sign: str, apps: Sequence[str]) -> str:
    """Apps as the audit trail names them: the first few, and how many."""
    few = ", ".join(f"{sign}{appid}" for appid in apps[:2])
    return few if len(apps) <= 2 else f"{few}, {sign}{len(apps) - 2}"  # noqa: PLR2004 - those few
