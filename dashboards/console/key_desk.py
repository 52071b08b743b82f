"""The API keys of one owner, as the console issues and lists them."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from dashboards.console.members import Actor
from metering.http_endpoints import Scope

KeyState = Literal["valid", "expired", "revoked"]


class ListedKey(Struct, frozen=True):
    """An API key without its secret."""

    prefix: str
    name: str
    scopes: tuple[Scope, ...]
    apps: tuple[str, ...]
    created_at_ms: int
    expires_at_ms: int | None
    state: KeyState


class NewKey(NamedTuple):
    """A key that was just issued: its text is told this once."""

    prefix: str
    text: str


class KeyDesk(Protocol):
    """The API keys. Blocking.

    An owner's keys are those that are for apps of this owner only: `apps` are all apps of the owner, by which
    each method finds them. Each raises RecordsUnavailableError if the database does not answer, and those
    that change something RefusedChangeError.
    """

    def keys_of(self, apps: Sequence[str]) -> Sequence[ListedKey]:
        """The keys of an owner, the newest first."""

    def issue(
        self,
        actor: Actor,
        name: str,
        scopes: Sequence[Scope],
        apps: Sequence[str],
        expires_at_ms: int | None,
    ) -> NewKey:
        """Issue a key for some apps of the owner."""

    def rotate(self, actor: Actor, prefix: str, apps: Sequence[str]) -> NewKey:
        """Issue a key in place of another one, which is valid for a day still."""

    def revoke(self, actor: Actor, prefix: str, apps: Sequence[str]) -> None:
        """Revoke a key."""
