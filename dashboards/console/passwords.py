"""Passwords: hashed by Argon2id, and compared in the same time for members who exist and who do not."""

import asyncio
from typing import Final, Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

CHARACTERS_MIN: Final = 10
CHARACTERS_MAX: Final = 200
"""More would only cost time."""

AT_ONCE: Final = 2
"""Passwords that are worked on at the same time; each takes 64 MiB."""

Weakness = Literal["short", "long", "like_email", "differ"]


def weakness(password: str, repeated: str, email: str = "") -> Weakness | None:
    """The weakness of a new password; None if it has none."""
    if password != repeated:
        return "differ"
    if len(password) < CHARACTERS_MIN:
        return "short"
    if len(password) > CHARACTERS_MAX:
        return "long"
    return "like_email" if email and password.strip().lower() == email else None


class Passwords:
    """Hashes and compares passwords in threads, a few at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._of_nobody = self._hasher.hash("nobody")

    async def hashed(self, password: str) -> str:
        """The stored form of a password."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Return whether a password is the one that was hashed; without a hash none is, after as long."""
        async with self._turns:
            return await asyncio.to_thread(self._is_right, password, password_hash)

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(password_hash)

    def _is_right(self, password: str, password_hash: str | None) -> bool:
        try:
            self._hasher.verify(password_hash or self._of_nobody, password[:CHARACTERS_MAX])
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None
