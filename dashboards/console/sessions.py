"""Sessions: their token, the cookie that carries it, and the store of them."""

import hashlib
import hmac
import secrets
from typing import Final, NamedTuple, Protocol

from dashboards.console.members import SignedInMember

TOKEN_BYTES: Final = 32
PLAIN_COOKIE: Final = "phonemeter_console"
HOST_COOKIE: Final = "__Host-phonemeter_console"
"""The name with TLS: browsers take it only from the same host, over TLS, for all paths."""


def cookie_name(*, over_tls: bool) -> str:
    """The name of the cookie that carries the token."""
    return HOST_COOKIE if over_tls else PLAIN_COOKIE


def new_token() -> str:
    """A token of 256 random bits, for a session or a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_digest(token: str) -> str:
    """The stored form of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def form_token(token: str) -> str:
    """The token in each form of a session: only who can read its pages knows it."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()


class OpenSession(NamedTuple):
    """A session that a request belongs to."""

    token: str
    member: SignedInMember


class Credentials(NamedTuple):
    """The hash that a password is compared with; without one none is right."""

    member_id: str
    password_hash: str | None


class SessionStore(Protocol):
    """The sessions and passwords. Blocking.

    Each method raises RecordsUnavailableError if the database does not answer.
    """

    def ping(self) -> None:
        """Ask the database for nothing."""

    def credentials(self, email: str) -> Credentials | None:
        """The credentials of a member that may sign in; None if there is none."""

    def credentials_of(self, member_id: str) -> Credentials | None:
        """The same, by the id of the member."""

    def begin(self, member_id: str, digest: str) -> bool:
        """Begin a session, for the owner of before; False if the member belongs to none."""

    def find(self, digest: str) -> SignedInMember | None:
        """The member of a session that has not ended, which is used by this; None if it has ended."""

    def look(self, digest: str) -> SignedInMember | None:
        """The same, but the session is not used by this: what pages do by themselves keeps none open."""

    def choose_owner(self, digest: str, owner_id: str) -> None:
        """Show the apps of another owner in a session, if the member belongs to it."""

    def end(self, digest: str) -> None:
        """End a session."""

    def end_all(self, member_id: str) -> None:
        """End all sessions of a member."""

    def keep_password(self, member_id: str, password_hash: str) -> None:
        """Set a password; all sessions of the member end."""

    def rehash(self, member_id: str, password_hash: str) -> None:
        """Keep the same password in a newer form; sessions go on."""

    def use_link(self, digest: str, password_hash: str) -> str | None:
        """Set a password by a link, which works once; the id of the member, None if the link is no good."""

    def is_link(self, digest: str) -> bool:
        """Return whether a link would work."""
