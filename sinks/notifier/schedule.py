"""When a failed delivery is tried again: a pure function of how often and since when it was tried."""

from hashlib import blake2b
from typing import Final, NamedTuple

from metering.times import HOUR_MS

PAUSE_MS_MAX: Final = 2 * HOUR_MS
JITTER: Final = 0.2
"""At most this part of a pause is added to it, so that what failed together does not come back together."""


class Policy(NamedTuple):
    """The pause after the first failure, and for how long attempts are repeated, both in milliseconds."""

    first_ms: int
    for_ms: int


def next_attempt_ms(
    policy: Policy, chain: str, failed: int, since_ms: int, now_ms: int, retry_after_ms: int | None = None
) -> int | None:
    """When to try again after the `failed`-th failure; None if the time for it is over.

    The pause doubles with every failure up to two hours. The jitter comes from the chain and the number of
    the attempt, so that whoever continues after a crash comes to the same time.

    Args:
        policy: the pauses.
        chain: id of the chain of attempts.
        failed: how many attempts failed, this one included.
        since_ms: when the first attempt began.
        now_ms: when this one failed.
        retry_after_ms: what the receiver asked for; honoured, though not beyond the end of the time.
    """
    end_ms = since_ms + policy.for_ms
    if now_ms >= end_ms:
        return None
    # Twenty doublings are more than the two hours of any first pause that can be set.
    pause_ms = min(policy.first_ms << min(failed - 1, 20), PAUSE_MS_MAX)
    at_ms = now_ms + round(pause_ms * (1 + JITTER * _fraction(f"{chain} {failed}")))
    if retry_after_ms is not None:
        at_ms = max(at_ms, min(now_ms + retry_after_ms, end_ms))
    return at_ms if at_ms <= end_ms else None


def _fraction(text: str) -> float:
    """A number in [0, 1) that looks random and is not."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48
