"""Members in the business database: those of one owner for the console, and all for the command line."""

import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from dashboards.console.errors import RefusedChangeError
from dashboards.console.members import (
    MEMBERS_MAX,
    Actor,
    AuditEntry,
    ListedMember,
    PasswordLink,
)
from dashboards.console.roles import Role
from dashboards.console.sessions import new_token, token_digest
from metering.times import HOUR_MS
from phonemeter.business import audit_trail
from phonemeter.business.audit_trail import COMMAND_LINE, note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.owners import found_owner, lock_owner
from phonemeter.business.tables import MEMBERS, MEMBERSHIPS, OWNERS, PASSWORD_LINKS, SESSIONS
from phonemeter.errors import UserError
from producers.clock import wall_clock_ms

LINK_MS: Final = 72 * HOUR_MS


class BusinessMembers:
    """The members of an owner, as the console's protocol has them."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def members_of(self, owner_id: str) -> Sequence[ListedMember]:
        """The members of an owner."""
        with console_transaction(self._database) as connection:
            chosen = (
                select(MEMBERS, MEMBERSHIPS.c.role)
                .join(MEMBERSHIPS, MEMBERSHIPS.c.member_id == MEMBERS.c.member_id)
                .where(MEMBERSHIPS.c.owner_id == owner_id)
                .order_by(MEMBERS.c.email)
            )
            return [
                ListedMember(
                    row.member_id,
                    row.email,
                    row.name,
                    row.role,
                    row.password_hash is not None,
                    row.disabled_at_ms is not None,
                )
                for row in connection.execute(chosen)
            ]

    def invite(self, actor: Actor, email: str, name: str, role: Role) -> PasswordLink:
        """Add a member; one that signs in for others already is not this owner's to add."""
        _refuse_operator(role)
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            if _member_id(connection, email) is not None:
                raise RefusedChangeError("email_taken")
            of_owner = MEMBERSHIPS.c.owner_id == actor.owner_id
            count = select(func.count()).select_from(MEMBERSHIPS).where(of_owner)
            if connection.execute(count).scalar_one() >= MEMBERS_MAX:
                raise RefusedChangeError("too_many")
            member_id = _add(connection, email, name)
            _join(connection, member_id, actor.owner_id, role)
            note(connection, actor, "member_added", email)
            return _link(connection, member_id)

    def change_role(self, actor: Actor, member_id: str, role: Role) -> None:
        """Change a role."""
        _refuse_operator(role)
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            email = _member_here(connection, actor, member_id)
            if role != "owner":
                _keep_an_owner(connection, actor.owner_id, without=member_id)
            here = (MEMBERSHIPS.c.member_id == member_id) & (MEMBERSHIPS.c.owner_id == actor.owner_id)
            connection.execute(update(MEMBERSHIPS).where(here).values(role=role))
            note(connection, actor, "role_changed", f"{email}: {role}")

    def remove(self, actor: Actor, member_id: str) -> None:
        """End a membership; a member without any is forgotten."""
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            email = _member_here(connection, actor, member_id)
            _keep_an_owner(connection, actor.owner_id, without=member_id)
            here = (MEMBERSHIPS.c.member_id == member_id) & (MEMBERSHIPS.c.owner_id == actor.owner_id)
            connection.execute(delete(MEMBERSHIPS).where(here))
            if not _owners_of(connection, member_id):
                for table in (SESSIONS, PASSWORD_LINKS, MEMBERS):
                    connection.execute(delete(table).where(table.c.member_id == member_id))
            note(connection, actor, "member_removed", email)

    def renew_link(self, actor: Actor, member_id: str) -> PasswordLink:
        """Give a link to a member of this owner alone: with it, one takes over all that the member may do."""
        with console_transaction(self._database) as connection:
            email = _member_here(connection, actor, member_id)
            of_member = (MEMBERSHIPS.c.member_id == member_id) & (MEMBERSHIPS.c.role == "operator")
            if connection.execute(select(MEMBERSHIPS.c.role).where(of_member)).first() is not None:
                raise RefusedChangeError("operator")
            if len(_owners_of(connection, member_id)) > 1:
                raise RefusedChangeError("several_owners")
            note(connection, actor, "link_renewed", email)
            return _link(connection, member_id)

    def audit_trail(self, owner_id: str, before: int | None = None) -> Sequence[AuditEntry]:
        """The newest entries about an owner, or those before another one."""
        with console_transaction(self._database) as connection:
            return audit_trail.newest(connection, owner_id, before)


class MemberRecord(msgspec.Struct, frozen=True):
    """A member with its owners, for the command line."""

    email: str
    name: str
    has_password: bool
    is_disabled: bool
    roles: dict[str, str]


class MemberRegister:
    """All members, for the command line. Blocking; raises OperationError if the database does not answer."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def add(self, email: str, name: str, owner: str, role: Role) -> PasswordLink | None:
        """Add a member, or one that is there to another owner; a link if it has no password.

        Raises:
            UserError: there is no such owner.
        """
        with self._database.begin() as connection:
            owner_id = found_owner(connection, owner)
            member_id = _member_id(connection, email) or _add(connection, email, name)
            here = (MEMBERSHIPS.c.member_id == member_id) & (MEMBERSHIPS.c.owner_id == owner_id)
            connection.execute(delete(MEMBERSHIPS).where(here))
            _join(connection, member_id, owner_id, role)
            note(connection, Actor(COMMAND_LINE, owner_id), "member_added", email)
            of_member = MEMBERS.c.member_id == member_id
            has_password = connection.execute(select(MEMBERS.c.password_hash).where(of_member)).scalar_one()
            # A link that the owner has given would open the new role to whoever holds it.
            connection.execute(delete(PASSWORD_LINKS).where(PASSWORD_LINKS.c.member_id == member_id))
            return None if has_password else _link(connection, member_id)

    def renew_link(self, email: str) -> PasswordLink:
        """Give a member a link to choose a new password with.

        Raises:
            UserError: there is no such member.
        """
        with self._database.begin() as connection:
            member_id = _found_member(connection, email)
            for owner_id in _owners_of(connection, member_id):
                note(connection, Actor(COMMAND_LINE, owner_id), "link_renewed", email)
            return _link(connection, member_id)

    def set_disabled(self, email: str, *, disabled: bool) -> None:
        """Disable a member, whose sessions end, or enable it.

        Raises:
            UserError: there is no such member.
        """
        with self._database.begin() as connection:
            member_id = _found_member(connection, email)
            of_member = MEMBERS.c.member_id == member_id
            at_ms = wall_clock_ms() if disabled else None
            connection.execute(update(MEMBERS).where(of_member).values(disabled_at_ms=at_ms))
            if disabled:
                connection.execute(delete(SESSIONS).where(SESSIONS.c.member_id == member_id))
            for owner_id in _owners_of(connection, member_id):
                what = "member_disabled" if disabled else "member_enabled"
                note(connection, Actor(COMMAND_LINE, owner_id), what, email)

    def every_member(self) -> list[MemberRecord]:
        """All members, by e-mail address."""
        with self._database.begin() as connection:
            roles: dict[str, dict[str, str]] = {}
            joined = select(MEMBERSHIPS.c.member_id, OWNERS.c.name, MEMBERSHIPS.c.role).join(
                OWNERS, OWNERS.c.owner_id == MEMBERSHIPS.c.owner_id
            )
            for member_id, owner, role in connection.execute(joined.order_by(OWNERS.c.name)):
                roles.setdefault(member_id, {})[owner] = role
            return [
                MemberRecord(
                    row.email,
                    row.name,
                    row.password_hash is not None,
                    row.disabled_at_ms is not None,
                    roles.get(row.member_id, {}),
                )
                for row in connection.execute(select(MEMBERS).order_by(MEMBERS.c.email))
            ]


def _refuse_operator(role: Role) -> None:
    """Refuse to give a role that only the command line gives."""
    if role == "operator":
        raise RefusedChangeError("operator")


def _member_id(connection: Connection, email: str) -> str | None:
    found = connection.execute(
        select(MEMBERS.c.member_id).where(MEMBERS.c.email == email)
    ).scalar_one_or_none()
    return None if found is None else str(found)


def _found_member(connection: Connection, email: str) -> str:
    found = _member_id(connection, email)
    if found is None:
        raise UserError(
            "There is no member with this e-mail address; list them with: phonemeter members list"
        )
    return found


def _member_here(connection: Connection, actor: Actor, member_id: str) -> str:
    """The e-mail address of a member of the actor's owner."""
    found = connection.execute(
        select(MEMBERS.c.email)
        .join(MEMBERSHIPS, MEMBERSHIPS.c.member_id == MEMBERS.c.member_id)
        .where(MEMBERS.c.member_id == member_id, MEMBERSHIPS.c.owner_id == actor.owner_id)
    ).scalar_one_or_none()
    if found is None:
        raise RefusedChangeError("not_there")
    return str(found)


def _owners_of(connection: Connection, member_id: str) -> list[str]:
    chosen = select(MEMBERSHIPS.c.owner_id).where(MEMBERSHIPS.c.member_id == member_id)
    return [str(one) for one in connection.execute(chosen).scalars()]


def _keep_an_owner(connection: Connection, owner_id: str, *, without: str) -> None:
    """Refuse a change after which nobody who can sign in would be in the role owner."""
    others = (
        select(func.count())
        .select_from(MEMBERSHIPS)
        .join(MEMBERS, MEMBERS.c.member_id == MEMBERSHIPS.c.member_id)
        .where(
            MEMBERSHIPS.c.owner_id == owner_id,
            MEMBERSHIPS.c.role == "owner",
            MEMBERSHIPS.c.member_id != without,
            MEMBERS.c.disabled_at_ms.is_(None),
            MEMBERS.c.password_hash.is_not(None),
        )
    )
    if connection.execute(others).scalar_one() == 0:
        raise RefusedChangeError("last_owner")


def _add(connection: Connection, email: str, name: str) -> str:
    member_id = secrets.token_hex(8)
    row = {"member_id": member_id, "email": email, "name": name, "created_at_ms": wall_clock_ms()}
    connection.execute(insert(MEMBERS).values(row))
    return member_id


def _join(connection: Connection, member_id: str, owner_id: str, role: Role) -> None:
    row = {"member_id": member_id, "owner_id": owner_id, "role": role, "added_at_ms": wall_clock_ms()}
    connection.execute(insert(MEMBERSHIPS).values(row))


def _link(connection: Connection, member_id: str) -> PasswordLink:
    """A new link for a member, in place of an earlier one."""
    link = PasswordLink(new_token(), wall_clock_ms() + LINK_MS)
    connection.execute(delete(PASSWORD_LINKS).where(PASSWORD_LINKS.c.member_id == member_id))
    row = {"member_id": member_id, "digest": token_digest(link.token), "expires_at_ms": link.expires_at_ms}
    connection.execute(insert(PASSWORD_LINKS).values(row))
    return link
