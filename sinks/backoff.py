"""Pauses between attempts at what failed."""

from typing import Final

from tenacity.wait import wait_exponential_jitter

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_S_MAX: Final = 5.0


def backoff() -> wait_exponential_jitter:
    """Pauses for tenacity: they double, with jitter so that several services do not retry in step."""
    return wait_exponential_jitter(multiplier=BACKOFF_FIRST_S, max=BACKOFF_S_MAX, jitter=BACKOFF_FIRST_S)


def backoff_s(failures: int) -> float:
    """Pause after so many failures in a row."""
    return min(BACKOFF_FIRST_S * 2.0 ** min(failures, 16), BACKOFF_S_MAX)
