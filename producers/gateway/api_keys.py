"""API keys: their text, what they allow, and whether one is valid now.

A key is `pm_ID_SECRET`. Who has the database can't make a request with it: it has the id and the SHA-256 of
the whole, which is enough for a secret of 256 random bits.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from metering.http_endpoints import Scope

SCOPES: Final[tuple[Scope, ...]] = ("emit", "read")

KEY_PREFIX: Final = "pm"
ID_BYTES: Final = 4
SECRET_BYTES: Final = 32
KEYS_MAX: Final = 1_000
"""Keys that are valid at the same time."""

_TEXT: Final = re.compile(rf"{KEY_PREFIX}_([0-9a-f]{{{2 * ID_BYTES}}})_[0-9A-Za-z_-]{{43}}")


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as it is stored, without its secret.

    Attributes:
        key_id: the part of its text that is shown.
        name: what a person calls it.
        digest: SHA-256 of its text, in hexadecimal digits.
        scopes: what it may be used for.
        apps: the apps that it is for; empty for all.
        events_per_s: its own limit; None for that of the settings.
        expires_at_ms: from when on it is not valid any more; None if it does not expire.
        revoked_at_ms: when it was revoked; None if it was not.
    """

    key_id: str
    name: str
    digest: str
    scopes: tuple[Scope, ...]
    apps: tuple[str, ...] = ()
    events_per_s: int | None = None
    created_at_ms: int = 0
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None

    @property
    def prefix(self) -> str:
        """The beginning of its text, by which people and logs name it."""
        return f"{KEY_PREFIX}_{self.key_id}"

    def is_valid(self, now_ms: int) -> bool:
        """Return whether it is neither revoked nor expired."""
        return self.revoked_at_ms is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)

    def covers(self, appid: str) -> bool:
        """Return whether it is for an app."""
        return not self.apps or appid in self.apps

    def opens_with(self, text: str) -> bool:
        """Return whether a text is this key's; takes the same time for any text."""
        return hmac.compare_digest(self.digest, digest_of(text))


class KeySource(Protocol):
    """The store of the keys."""

    def valid_keys(self) -> Sequence[ApiKey]:
        """The keys that are not revoked. Blocking.

        Raises:
            KeysUnavailableError: they can't be read now.
        """


def new_key_text() -> str:
    """The text of a new key: it is shown once, and nobody can tell it afterwards."""
    return f"{KEY_PREFIX}_{secrets.token_hex(ID_BYTES)}_{secrets.token_urlsafe(SECRET_BYTES)}"


def digest_of(text: str) -> str:
    """The stored form of a key's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def key_id_of(text: str) -> str | None:
    """The id in the text of a key; None if it is no such text."""
    found = _TEXT.fullmatch(text)
    return None if found is None else found[1]
