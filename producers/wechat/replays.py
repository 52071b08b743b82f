"""The pushes that were taken already: one with the same signature, time and number is refused."""

from collections.abc import Callable
from typing import Final

REMEMBERED_MAX: Final = 10_000
"""Limit of remembered pushes. While there are so many young ones, no other push is taken."""


class PushMemory:
    """Remembers pushes for as long as their time is accepted."""

    def __init__(self, age_max_s: float, now_s: Callable[[], float]) -> None:
        self._age_max_s = age_max_s
        self._now_s = now_s
        self._until_s: dict[str, float] = {}

    def is_timely(self, timestamp: str) -> bool:
        """Return whether the time of a push, in seconds, is close enough to now."""
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004 - a time
            return False
        return abs(self._now_s() - int(timestamp)) <= self._age_max_s

    def take(self, push: str) -> bool:
        """Remember a push; False if it was taken before, or if there are too many."""
        now_s = self._now_s()
        if len(self._until_s) >= REMEMBERED_MAX:
            self._until_s = {known: until_s for known, until_s in self._until_s.items() if until_s > now_s}
        if self._until_s.get(push, 0.0) > now_s or len(self._until_s) >= REMEMBERED_MAX:
            return False
        # A push may be ahead of our clock by as much as it may be behind.
        self._until_s[push] = now_s + 2 * self._age_max_s
        return True

    def forget(self, push: str) -> None:
        """Forget a push that came to nothing, so that it may come again."""
        self._until_s.pop(push, None)
