"""The API keys in memory: read again and again, so that a request needs no database."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection
from typing import Final

from metering.http_endpoints import Scope
from producers.clock import wall_clock_ms
from producers.gateway.api_keys import ApiKey, KeySource, key_id_of
from producers.gateway.errors import KeysUnavailableError
from producers.gateway.problems import RequestProblem

log = logging.getLogger(__name__)

STALE_S: Final = 60.0
"""Age of the keys from which on they open nothing: one that was revoked must not live on."""

REREAD_PAUSE_S: Final = 0.2
"""Least time between two readings for unknown keys: guessing must not keep the database busy."""

SCHEME: Final = "bearer"
CHALLENGE: Final = {"www-authenticate": "Bearer"}
INVALID: Final = "The API key is unknown, expired or revoked."


class UnknownKeyProblem(RequestProblem):
    """A key that the last reading did not have; it may have been issued since."""

    def __init__(self) -> None:
        super().__init__("key_invalid", INVALID, CHALLENGE)


class KeyRing:
    """The valid keys, as of the last reading.

    Attributes:
        trouble: why the last reading failed; empty if it did not.
    """

    def __init__(
        self,
        source: KeySource,
        interval_s: float,
        now_ms: Callable[[], int] = wall_clock_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._interval_s = interval_s
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._keys: dict[str, ApiKey] = {}
        self._read_s: float | None = None
        self._reread_s = -math.inf
        self._next_reread: asyncio.Task[None] | None = None
        self.trouble = "The API keys have not been read yet."

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def has_read(self) -> bool:
        """True once the keys were read."""
        return self._read_s is not None

    async def run(self) -> None:
        """Read the keys again and again, until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(self._interval_s)

    async def read(self) -> None:
        """Read the keys; those of before stay if that fails."""
        began_s = self._monotonic_s()
        try:
            keys = await asyncio.to_thread(self._source.valid_keys)
        except KeysUnavailableError as error:
            if str(error) != self.trouble:
                log.warning("%s", error)
            self.trouble = str(error)
            return
        if self._read_s is None or began_s >= self._read_s:
            self._keys = {key.key_id: key for key in keys}
            self._read_s, self.trouble = began_s, ""

    async def opened_now_by(self, authorization: str, scopes: Collection[Scope]) -> ApiKey:
        """The key in a header `Authorization`, also if it was issued since the last reading.

        Raises:
            RequestProblem: as of `opened_by`.
        """
        try:
            return self.opened_by(authorization, scopes)
        except UnknownKeyProblem:
            await self._reread()
            if self.trouble:
                raise _unavailable() from None
        return self.opened_by(authorization, scopes)

    async def _reread(self) -> None:
        """Wait for a reading that has not begun yet, the same for all who wait."""
        if self._next_reread is None:
            self._next_reread = asyncio.create_task(self._read_after_pause())
        await asyncio.shield(self._next_reread)

    async def _read_after_pause(self) -> None:
        await asyncio.sleep(self._reread_s + REREAD_PAUSE_S - self._monotonic_s())
        self._next_reread, self._reread_s = None, self._monotonic_s()
        await self.read()

    def opened_by(self, authorization: str, scopes: Collection[Scope]) -> ApiKey:
        """The key in a header `Authorization`.

        Raises:
            UnknownKeyProblem: the last reading did not have it.
            RequestProblem: there is none, it is not valid or has no such scope, or the keys can't be read.
        """
        if self._read_s is None or self._monotonic_s() - self._read_s > STALE_S:
            raise _unavailable()
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != SCHEME or not text:
            raise RequestProblem(
                "key_missing",
                "Send an API key: Authorization: Bearer pm_...; `phonemeter keys issue` makes one.",
                CHALLENGE,
            )
        key_id = key_id_of(text.strip())
        key = self._keys.get(key_id or "")
        if key is None and key_id is not None:
            raise UnknownKeyProblem
        if key is None or not key.opens_with(text.strip()) or not key.is_valid(self._now_ms()):
            raise RequestProblem("key_invalid", INVALID, CHALLENGE)
        if not any(scope in key.scopes for scope in scopes):
            wanted = " or ".join(sorted(scopes))
            raise RequestProblem(
                "scope_missing", f"The API key {key.prefix} may not {wanted}; issue one that may."
            )
        return key


def _unavailable() -> RequestProblem:
    return RequestProblem("unavailable", "The API keys can't be read now; try again.", {"retry-after": "5"})
