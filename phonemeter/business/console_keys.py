"""The API keys of one owner, for the console; each change leaves a line in the audit trail."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection

from dashboards.console.errors import RecordsUnavailableError, RefusedChangeError
from dashboards.console.key_desk import KeyState, ListedKey, NewKey
from dashboards.console.members import Actor
from metering.http_endpoints import Scope
from phonemeter.business.audit_trail import note
from phonemeter.business.keys import EndedKeyError, KeyStore, NoSuchKeyError, TooManyKeysError
from phonemeter.errors import OperationError
from producers.clock import wall_clock_ms
from producers.gateway.api_keys import ApiKey


class OwnerKeys:
    """The keys, as the console's protocol has them."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    def keys_of(self, apps: Sequence[str]) -> Sequence[ListedKey]:
        """The keys of an owner."""
        now_ms = wall_clock_ms()
        with _told():
            return [_listed(key, now_ms) for key in self._store.every_key() if _is_of(key, apps)]

    def issue(
        self,
        actor: Actor,
        name: str,
        scopes: Sequence[Scope],
        apps: Sequence[str],
        expires_at_ms: int | None,
    ) -> NewKey:
        """Issue a key."""
        if not apps:
            # A key without apps is for all of them.
            raise RefusedChangeError("not_there")

        def beside(connection: Connection, key: ApiKey) -> None:
            note(connection, actor, "key_issued", f"{key.prefix} {key.name}")

        with _told():
            issued = self._store.issue(name, scopes, apps, expires_at_ms=expires_at_ms, beside=beside)
        return NewKey(issued.key.prefix, issued.text)

    def rotate(self, actor: Actor, prefix: str, apps: Sequence[str]) -> NewKey:
        """Issue a key in place of another."""

        def beside(connection: Connection, key: ApiKey) -> None:
            _refuse_others(key, apps)
            note(connection, actor, "key_rotated", f"{key.prefix} {key.name}")

        with _told():
            issued = self._store.rotate(prefix, beside=beside)
        return NewKey(issued.key.prefix, issued.text)

    def revoke(self, actor: Actor, prefix: str, apps: Sequence[str]) -> None:
        """Revoke a key."""

        def beside(connection: Connection, key: ApiKey) -> None:
            _refuse_others(key, apps)
            note(connection, actor, "key_revoked", f"{key.prefix} {key.name}")

        with _told():
            self._store.revoke(prefix, beside=beside)


def _is_of(key: ApiKey, apps: Sequence[str]) -> bool:
    """Return whether a key is an owner's: for apps of the owner, and for no other."""
    return bool(key.apps) and set(key.apps) <= set(apps)


def _refuse_others(key: ApiKey, apps: Sequence[str]) -> None:
    if not _is_of(key, apps):
        raise RefusedChangeError("not_there")


def _listed(key: ApiKey, now_ms: int) -> ListedKey:
    state: KeyState = (
        "revoked" if key.revoked_at_ms is not None else "valid" if key.is_valid(now_ms) else "expired"
    )
    return ListedKey(key.prefix, key.name, key.scopes, key.apps, key.created_at_ms, key.expires_at_ms, state)


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the store as those that the console's pages know."""
    try:
        yield
    except NoSuchKeyError:
        raise RefusedChangeError("not_there") from None
    except EndedKeyError:
        raise RefusedChangeError("key_ended") from None
    except TooManyKeysError:
        raise RefusedChangeError("too_many") from None
    except OperationError as error:
        raise RecordsUnavailableError(str(error)) from None
