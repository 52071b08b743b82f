"""Members: who signs in, for which owner, in which role; and the store of them."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from dashboards.console.roles import PERMISSIONS, Permission, Role
from metering.personal_identifiers import find_identifier

EMAIL_CHARACTERS_MAX: Final = 254
NAME_CHARACTERS_MAX: Final = 64
MEMBERS_MAX: Final = 200
"""Members of one owner."""

ENTRIES_A_PAGE: Final = 100
"""Lines of the audit trail on one page."""

_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def normalized_email(text: str) -> str | None:
    """The e-mail address in a text, in small letters; None if it is none."""
    found = text.strip().lower()
    return found if len(found) <= EMAIL_CHARACTERS_MAX and _EMAIL.fullmatch(found) else None


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a member or a key: printable, and nobody's number."""
    return 0 < len(text) <= NAME_CHARACTERS_MAX and text.isprintable() and find_identifier(text) is None


class OwnerMembership(Struct, frozen=True):
    """The membership of a person with one owner.

    Attributes:
        owner_id: whose apps the member sees.
        owner_name: as people call the owner.
        role: what the member may do there.
    """

    owner_id: str
    owner_name: str
    role: Role


class SignedInMember(Struct, frozen=True):
    """A member with a session.

    Attributes:
        member_id: of the member.
        email: of the member.
        name: of the member.
        membership: the one whose apps are shown.
        memberships: all of them.
        apps: the appids of that owner, and never those of another; none means that it has none.
    """

    member_id: str
    email: str
    name: str
    membership: OwnerMembership
    memberships: tuple[OwnerMembership, ...]
    apps: tuple[str, ...]

    def may(self, permission: Permission) -> bool:
        """Return whether the member's role allows something."""
        return permission in PERMISSIONS[self.membership.role]

    @property
    def actor(self) -> "Actor":
        """The member as one who changes something."""
        return Actor(self.email, self.membership.owner_id)


class Actor(NamedTuple):
    """The author of a change, for the audit trail.

    Attributes:
        who: an e-mail address, or the command line.
        owner_id: whose records are changed.
    """

    who: str
    owner_id: str


class ListedMember(Struct, frozen=True):
    """A member as the page of members lists it."""

    member_id: str
    email: str
    name: str
    role: Role
    has_password: bool
    is_disabled: bool


class PasswordLink(NamedTuple):
    """A one-time link to choose a password with.

    Attributes:
        token: its secret, which is told this once.
        expires_at_ms: from when on it does not work any more.
    """

    token: str
    expires_at_ms: int


class AuditEntry(Struct, frozen=True):
    """A line of the audit trail; later ones have larger numbers."""

    entry_id: int
    at_ms: int
    who: str
    what: str
    subject: str


class MemberStore(Protocol):
    """The members of owners. Blocking.

    Each method raises RecordsUnavailableError if the database does not answer, and those that change
    something RefusedChangeError.
    """

    def members_of(self, owner_id: str) -> Sequence[ListedMember]:
        """The members of an owner, by e-mail address."""

    def invite(self, actor: Actor, email: str, name: str, role: Role) -> PasswordLink:
        """Add a new member to the actor's owner."""

    def change_role(self, actor: Actor, member_id: str, role: Role) -> None:
        """Change the role of a member of the actor's owner."""

    def remove(self, actor: Actor, member_id: str) -> None:
        """End the membership of a member, whose sessions for the owner end too."""

    def renew_link(self, actor: Actor, member_id: str) -> PasswordLink:
        """Give a member of this owner alone a link to choose a new password."""

    def audit_trail(self, owner_id: str, before: int | None = None) -> Sequence[AuditEntry]:
        """The newest entries about an owner, or those before one: one more than a page has."""
