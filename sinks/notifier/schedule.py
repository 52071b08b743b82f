"""The time of a failed delivery's next attempt, from the number and time of the earlier ones. Pure."""

from hashlib import blake2b
from typing import Final, NamedTuple

from metering.times import HOUR_MS

PAUSE_MS_MAX: Final = 2 * HOUR_MS
JITTER: Final = 0.2
"""Largest part of a pause that is added to it, so that deliveries that failed together spread out."""


class Policy(NamedTuple):
    """The pause after the first failure, and the duration of all attempts, both in milliseconds."""

    first_ms: int
    for_ms: int


def next_attempt_ms(
    policy: Policy,
    delivery_id: str,
    failed: int,
    since_ms: int,
    now_ms: int,
    retry_after_ms: int | None = None,
) -> int | None:
    """The time of the attempt after the `failed`-th failure at `now_ms`; None if no time is left for one.

    The backoff doubles with every failure up to two hours. The jitter is derived from the delivery and the
    number of the attempt, so that another notifier that takes over computes the same time. The pause that the
    receiver asked for is honoured, but not beyond the end of all attempts, which began at `since_ms`.
    """
    end_ms = since_ms + policy.for_ms
    if now_ms >= end_ms:
        return None
    # Twenty doublings are more than the two hours of any first pause that can be set.
    pause_ms = min(policy.first_ms << min(failed - 1, 20), PAUSE_MS_MAX)
    at_ms = now_ms + round(pause_ms * (1 + JITTER * _fraction(f"{delivery_id} {failed}")))
    if retry_after_ms is not None:
        at_ms = max(at_ms, min(now_ms + retry_after_ms, end_ms))
    return at_ms if at_ms <= end_ms else None


def _fraction(text: str) -> float:
    """A pseudo-random number in [0, 1), the same for the same text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48
