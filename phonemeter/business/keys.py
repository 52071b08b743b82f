"""The API keys in the business database: issued, listed, rotated, revoked."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from metering.http_endpoints import Scope
from metering.times import HOUR_MS
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import API_KEYS
from phonemeter.errors import OperationError, UserError
from producers.clock import wall_clock_ms
from producers.gateway.api_keys import (
    KEY_PREFIX,
    KEYS_MAX,
    ApiKey,
    digest_of,
    key_id_of,
    new_key_text,
)
from producers.gateway.errors import KeysUnavailableError

LISTED_MAX: Final = 10_000
OVERLAP_MS: Final = 24 * HOUR_MS
"""The time for which an old key is valid beside its successor, unless something else is asked for."""


Beside = Callable[[Connection, ApiKey], None]
"""A deed with a key in the same transaction, such as a line in the audit trail."""


class NoSuchKeyError(OperationError):
    """There is no such key."""


class EndedKeyError(OperationError):
    """A key is revoked or expired."""


class TooManyKeysError(UserError):
    """There are as many valid keys as there may be."""


class IssuedKey(msgspec.Struct, frozen=True):
    """A new key, and its text, which is told this once."""

    key: ApiKey
    text: str


def _nothing(_connection: Connection, _key: ApiKey) -> None:
    pass


class KeyStore:
    """The keys. Blocking; threads may share it."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def valid_keys(self) -> Sequence[ApiKey]:
        """The keys that are not revoked and not expired, for the gateway.

        Raises:
            KeysUnavailableError: the database does not answer.
        """
        try:
            with self._database.begin() as connection:
                return _valid(connection, wall_clock_ms())
        except OperationError as error:
            raise KeysUnavailableError(str(error)) from None

    def issue(
        self,
        name: str,
        scopes: Sequence[Scope],
        apps: Sequence[str],
        *,
        events_per_s: int | None = None,
        expires_at_ms: int | None = None,
        beside: Beside = _nothing,
    ) -> IssuedKey:
        """Issue a key.

        Raises:
            TooManyKeysError: there are too many.
            OperationError: the database does not answer.
        """
        now_ms = wall_clock_ms()
        issued = _new(name, tuple(scopes), tuple(apps), events_per_s, expires_at_ms, now_ms)
        with self._database.begin() as connection:
            _refuse_too_many(connection, now_ms)
            _store(connection, issued.key)
            beside(connection, issued.key)
        return issued

    def every_key(self) -> list[ApiKey]:
        """All keys, the newest first, those that are revoked too.

        Raises:
            OperationError: the database does not answer.
        """
        chosen = select(API_KEYS).order_by(API_KEYS.c.created_at_ms.desc(), API_KEYS.c.key_id)
        with self._database.begin() as connection:
            return [_key(row) for row in connection.execute(chosen.limit(LISTED_MAX))]

    def rotate(self, name: str, overlap_ms: int = OVERLAP_MS, beside: Beside = _nothing) -> IssuedKey:
        """Issue a key that may do what another one may; that one expires after the overlap, or sooner.

        Args:
            name: the prefix or the id of the old key.
            overlap_ms: how long both are valid.
            beside: gets the old key.

        Raises:
            NoSuchKeyError: there is no such key.
            EndedKeyError: it is not valid any more.
            OperationError: the database does not answer.
        """
        now_ms = wall_clock_ms()
        with self._database.begin() as connection:
            old = _found(connection, name)
            beside(connection, old)
            if not old.is_valid(now_ms):
                raise EndedKeyError(f"The API key {old.prefix} is not valid any more; issue a new one.")
            _refuse_too_many(connection, now_ms)
            issued = _new(old.name, old.scopes, old.apps, old.events_per_s, old.expires_at_ms, now_ms)
            _store(connection, issued.key)
            ends_ms = min(now_ms + overlap_ms, old.expires_at_ms or now_ms + overlap_ms)
            _change(connection, old, expires_at_ms=ends_ms)
        return issued

    def revoke(self, name: str, beside: Beside = _nothing) -> ApiKey:
        """Revoke a key, given by its prefix or id. One that is revoked stays as it is.

        Raises:
            NoSuchKeyError: there is no such key.
            OperationError: the database does not answer.
        """
        with self._database.begin() as connection:
            key = _found(connection, name)
            beside(connection, key)
            if key.revoked_at_ms is None:
                key = msgspec.structs.replace(key, revoked_at_ms=wall_clock_ms())
                _change(connection, key, revoked_at_ms=key.revoked_at_ms)
        return key


def _new(
    name: str,
    scopes: tuple[Scope, ...],
    apps: tuple[str, ...],
    events_per_s: int | None,
    expires_at_ms: int | None,
    now_ms: int,
) -> IssuedKey:
    text = new_key_text()
    key = ApiKey(
        key_id=key_id_of(text) or "",
        name=name,
        digest=digest_of(text),
        scopes=scopes,
        apps=apps,
        events_per_s=events_per_s,
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
    )
    return IssuedKey(key, text)


def _valid(connection: Connection, now_ms: int) -> list[ApiKey]:
    expires = API_KEYS.c.expires_at_ms
    chosen = select(API_KEYS).where(
        API_KEYS.c.revoked_at_ms.is_(None), expires.is_(None) | (expires > now_ms)
    )
    return [_key(row) for row in connection.execute(chosen.limit(2 * KEYS_MAX))]


def _refuse_too_many(connection: Connection, now_ms: int) -> None:
    expires = API_KEYS.c.expires_at_ms
    count = select(func.count()).where(
        API_KEYS.c.revoked_at_ms.is_(None), expires.is_(None) | (expires > now_ms)
    )
    if connection.execute(count).scalar_one() >= KEYS_MAX:
        raise TooManyKeysError(f"There are {KEYS_MAX:,} valid API keys already; revoke some first.")


def _found(connection: Connection, name: str) -> ApiKey:
    key_id = key_id_of(name) or name.removeprefix(f"{KEY_PREFIX}_")
    row = connection.execute(select(API_KEYS).where(API_KEYS.c.key_id == key_id)).one_or_none()
    if row is None:
        raise NoSuchKeyError("There is no API key with this prefix; list them with: phonemeter keys list")
    return _key(row)


def _store(connection: Connection, key: ApiKey) -> None:
    row = msgspec.structs.asdict(key) | {"scopes": list(key.scopes), "apps": list(key.apps)}
    connection.execute(insert(API_KEYS).values(row))


def _change(connection: Connection, key: ApiKey, **changes: int | None) -> None:
    connection.execute(update(API_KEYS).where(API_KEYS.c.key_id == key.key_id).values(changes))


def _key(row: Row[Any]) -> ApiKey:
    # SQLAlchemy's names are texts of a class of their own.
    fields = {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001 - its public name
    return msgspec.convert(fields, ApiKey)
