"""Limits on attempts to sign in: per e-mail address and per address of the client."""

import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

WINDOW_S: Final = 900.0
PER_EMAIL: Final = 10
PER_ADDRESS: Final = 50
KEPT_MAX: Final = 20_000
"""Names that are remembered; then those that began first are forgotten."""


class _Tries(NamedTuple):
    began_s: float
    made: int


class SignInLimits:
    """Attempts of the last quarter of an hour. An unknown e-mail address counts like a known one."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._tries: dict[tuple[str, str], _Tries] = {}

    def take(self, email: str, address: str) -> int:
        """Count an attempt, before it is looked at.

        Returns:
            0 if it may be made, else the seconds to wait.
        """
        now_s = self._monotonic_s()
        counted = {name: self._as_of(name, now_s) for name in (("email", email), ("address", address))}
        limits = {"email": PER_EMAIL, "address": PER_ADDRESS}
        waits = [
            tries.began_s + WINDOW_S - now_s
            for name, tries in counted.items()
            if tries.made >= limits[name[0]]
        ]
        if waits:
            return max(1, math.ceil(max(waits)))
        for name, tries in counted.items():
            # Put at the end: the first of a dict are those to forget.
            self._tries.pop(name, None)
            self._tries[name] = tries._replace(made=tries.made + 1)
        while len(self._tries) > KEPT_MAX:
            del self._tries[next(iter(self._tries))]
        return 0

    def forget(self, email: str) -> None:
        """Forget the attempts of a member who has signed in."""
        self._tries.pop(("email", email), None)

    def _as_of(self, name: tuple[str, str], now_s: float) -> _Tries:
        tries = self._tries.get(name)
        return tries if tries and now_s - tries.began_s < WINDOW_S else _Tries(now_s, 0)
