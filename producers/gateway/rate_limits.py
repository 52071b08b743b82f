"""Limits per API key: a bucket of events that fills at the key's rate."""

import math
import time
from collections.abc import Callable
from typing import Final

from producers.gateway.api_keys import KEYS_MAX, ApiKey
from producers.gateway.problems import RequestProblem

BURST_EVENTS_MIN: Final = 1_000
"""The least that a bucket holds: a whole request must fit."""


class _Bucket:
    __slots__ = ("at_s", "events")

    def __init__(self, events: float, at_s: float) -> None:
        self.events = events
        self.at_s = at_s


class RateLimits:
    """The buckets of all keys; each holds the events of a second, and at least those of a full request."""

    def __init__(self, default_per_s: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._default_per_s = default_per_s
        self._monotonic_s = monotonic_s
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: ApiKey, events: int) -> None:
        """Take events out of a key's bucket.

        Raises:
            RequestProblem: it has not so many.
        """
        per_s = key.events_per_s or self._default_per_s
        size = max(per_s, BURST_EVENTS_MIN)
        now_s = self._monotonic_s()
        bucket = self._bucket(key.key_id, size, now_s)
        held = min(size, bucket.events + (now_s - bucket.at_s) * per_s)
        bucket.at_s = now_s
        if events > held:
            bucket.events = held
            wait_s = math.ceil((events - held) / per_s)
            raise RequestProblem(
                "rate_limit",
                f"The API key {key.prefix} may send {per_s:,} events per second; nothing was taken, send the "
                f"same again in {wait_s} s.",
                {"retry-after": str(wait_s)},
            )
        bucket.events = held - events

    def _bucket(self, key_id: str, size: int, now_s: float) -> _Bucket:
        found = self._buckets.get(key_id)
        if found is None:
            if len(self._buckets) >= 2 * KEYS_MAX:
                # Keys come and go; the one that was used least lately has a full bucket by now.
                del self._buckets[min(self._buckets, key=lambda one: self._buckets[one].at_s)]
            found = self._buckets[key_id] = _Bucket(size, now_s)
        return found
