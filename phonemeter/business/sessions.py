"""Sessions and passwords of members in the business database."""

from typing import Final

from sqlalchemy import Connection, delete, insert, select, text, update

from dashboards.console.members import Actor, OwnerMembership, SignedInMember
from dashboards.console.sessions import Credentials
from metering.times import HOUR_MS, MINUTE_MS
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.owners import apps_of
from phonemeter.business.tables import MEMBERS, MEMBERSHIPS, OWNERS, PASSWORD_LINKS, SESSIONS
from producers.clock import wall_clock_ms

SESSIONS_MAX: Final = 20
"""Sessions of one member; the oldest ends when there is one more."""

SEEN_MS: Final = MINUTE_MS
"""Accuracy of the time at which a session was used last: a write per request would cost more."""


class BusinessSessions:
    """The sessions, as the console's protocol has them.

    Args:
        database: the business database.
        idle_min: minutes without a request after which a session ends.
        session_h: hours after which it ends at latest.
    """

    def __init__(self, database: BusinessDatabase, idle_min: int, session_h: int) -> None:
        self._database = database
        self._idle_ms = idle_min * MINUTE_MS
        self._session_ms = session_h * HOUR_MS

    def ping(self) -> None:
        """Ask the database for nothing."""
        with console_transaction(self._database) as connection:
            connection.execute(text("SELECT 1"))

    def credentials(self, email: str) -> Credentials | None:
        """The credentials of the member with an address."""
        with console_transaction(self._database) as connection:
            found = connection.execute(
                select(MEMBERS.c.member_id, MEMBERS.c.password_hash).where(
                    MEMBERS.c.email == email, MEMBERS.c.disabled_at_ms.is_(None)
                )
            ).one_or_none()
        return None if found is None else Credentials(*found)

    def credentials_of(self, member_id: str) -> Credentials | None:
        """The credentials of a member."""
        with console_transaction(self._database) as connection:
            found = connection.execute(
                select(MEMBERS.c.member_id, MEMBERS.c.password_hash).where(MEMBERS.c.member_id == member_id)
            ).one_or_none()
        return None if found is None else Credentials(*found)

    def begin(self, member_id: str, digest: str) -> bool:
        """Begin a session for the owner of the last one, or for the first by name."""
        now_ms = wall_clock_ms()
        with console_transaction(self._database) as connection:
            memberships = _memberships(connection, member_id)
            if not memberships:
                return False
            own = SESSIONS.c.member_id == member_id
            earlier = connection.execute(
                select(SESSIONS.c.owner_id, SESSIONS.c.digest)
                .where(own)
                .order_by(SESSIONS.c.seen_at_ms.desc())
            ).all()
            last = earlier[0].owner_id if earlier else ""
            chosen = next((one for one in memberships if one.owner_id == last), memberships[0])
            ended = [row.digest for row in earlier[SESSIONS_MAX - 1 :]]
            over = SESSIONS.c.digest.in_(ended) | (SESSIONS.c.expires_at_ms <= now_ms)
            connection.execute(delete(SESSIONS).where(over))
            row = {
                "digest": digest,
                "member_id": member_id,
                "owner_id": chosen.owner_id,
                "created_at_ms": now_ms,
                "seen_at_ms": now_ms,
                "expires_at_ms": now_ms + self._session_ms,
            }
            connection.execute(insert(SESSIONS).values(row))
            note(connection, Actor(_email(connection, member_id), chosen.owner_id), "signed_in")
        return True

    def find(self, digest: str) -> SignedInMember | None:
        """The member of a session, which is used by this."""
        return self._find(digest, is_use=True)

    def look(self, digest: str) -> SignedInMember | None:
        """The member of a session, which is not used by this."""
        return self._find(digest, is_use=False)

    def _find(self, digest: str, *, is_use: bool) -> SignedInMember | None:
        now_ms = wall_clock_ms()
        with console_transaction(self._database) as connection:
            row = connection.execute(
                select(SESSIONS, MEMBERS.c.email, MEMBERS.c.name)
                .join(MEMBERS, MEMBERS.c.member_id == SESSIONS.c.member_id)
                .where(
                    SESSIONS.c.digest == digest,
                    SESSIONS.c.expires_at_ms > now_ms,
                    SESSIONS.c.seen_at_ms > now_ms - self._idle_ms,
                    MEMBERS.c.disabled_at_ms.is_(None),
                )
            ).one_or_none()
            memberships = () if row is None else _memberships(connection, row.member_id)
            if row is None or not memberships:
                return None
            if is_use and now_ms - row.seen_at_ms >= SEEN_MS:
                of_digest = SESSIONS.c.digest == digest
                connection.execute(update(SESSIONS).where(of_digest).values(seen_at_ms=now_ms))
            shown = next((one for one in memberships if one.owner_id == row.owner_id), memberships[0])
            apps = apps_of(connection, shown.owner_id)
        return SignedInMember(row.member_id, row.email, row.name, shown, memberships, apps)

    def choose_owner(self, digest: str, owner_id: str) -> None:
        """Show another owner's apps, of whom the member is one."""
        with console_transaction(self._database) as connection:
            own = select(SESSIONS.c.member_id).where(SESSIONS.c.digest == digest).scalar_subquery()
            member_of = select(MEMBERSHIPS.c.owner_id).where(
                MEMBERSHIPS.c.member_id == own, MEMBERSHIPS.c.owner_id == owner_id
            )
            if connection.execute(member_of).first():
                of_digest = SESSIONS.c.digest == digest
                connection.execute(update(SESSIONS).where(of_digest).values(owner_id=owner_id))

    def end(self, digest: str) -> None:
        """End a session."""
        with console_transaction(self._database) as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.digest == digest))

    def end_all(self, member_id: str) -> None:
        """End all sessions of a member."""
        with console_transaction(self._database) as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.member_id == member_id))
            _note_everywhere(connection, member_id, "signed_out_everywhere")

    def keep_password(self, member_id: str, password_hash: str) -> None:
        """Set a password; the sessions end, and a link that was given does not work any more."""
        with console_transaction(self._database) as connection:
            _set_password(connection, member_id, password_hash)

    def rehash(self, member_id: str, password_hash: str) -> None:
        """Keep the same password in a newer form."""
        with console_transaction(self._database) as connection:
            of_member = MEMBERS.c.member_id == member_id
            connection.execute(update(MEMBERS).where(of_member).values(password_hash=password_hash))

    def use_link(self, digest: str, password_hash: str) -> str | None:
        """Set a password by a link."""
        with console_transaction(self._database) as connection:
            member_id = _member_of_link(connection, digest)
            # Of two at once, the one that deletes it has it.
            taken = delete(PASSWORD_LINKS).where(PASSWORD_LINKS.c.digest == digest)
            if member_id is None or connection.execute(taken).rowcount != 1:
                return None
            _set_password(connection, member_id, password_hash)
        return member_id

    def is_link(self, digest: str) -> bool:
        """Return whether a link would work."""
        with console_transaction(self._database) as connection:
            return _member_of_link(connection, digest) is not None


def _set_password(connection: Connection, member_id: str, password_hash: str) -> None:
    of_member = MEMBERS.c.member_id == member_id
    connection.execute(update(MEMBERS).where(of_member).values(password_hash=password_hash))
    connection.execute(delete(SESSIONS).where(SESSIONS.c.member_id == member_id))
    connection.execute(delete(PASSWORD_LINKS).where(PASSWORD_LINKS.c.member_id == member_id))
    _note_everywhere(connection, member_id, "password_chosen")


def _member_of_link(connection: Connection, digest: str) -> str | None:
    found = connection.execute(
        select(PASSWORD_LINKS.c.member_id)
        .join(MEMBERS, MEMBERS.c.member_id == PASSWORD_LINKS.c.member_id)
        .where(
            PASSWORD_LINKS.c.digest == digest,
            PASSWORD_LINKS.c.expires_at_ms > wall_clock_ms(),
            MEMBERS.c.disabled_at_ms.is_(None),
        )
    ).scalar_one_or_none()
    return None if found is None else str(found)


def _memberships(connection: Connection, member_id: str) -> tuple[OwnerMembership, ...]:
    chosen = (
        select(OWNERS.c.owner_id, OWNERS.c.name, MEMBERSHIPS.c.role)
        .join(MEMBERSHIPS, MEMBERSHIPS.c.owner_id == OWNERS.c.owner_id)
        .where(MEMBERSHIPS.c.member_id == member_id)
        .order_by(OWNERS.c.name)
    )
    return tuple(OwnerMembership(*row) for row in connection.execute(chosen))


def _note_everywhere(connection: Connection, member_id: str, what: str) -> None:
    """Write a line into the trail of each owner that a member belongs to."""
    email = _email(connection, member_id)
    for membership in _memberships(connection, member_id):
        note(connection, Actor(email, membership.owner_id), what)


def _email(connection: Connection, member_id: str) -> str:
    chosen = select(MEMBERS.c.email).where(MEMBERS.c.member_id == member_id)
    return str(connection.execute(chosen).scalar_one())
