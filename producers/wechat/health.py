"""Health of the service: it has started, and every app is read."""

from collections.abc import Mapping
from typing import Final

from metering.health import Problem, Verdict, starting_verdict
from producers.wechat.metrics import Metrics

READINGS_MISSED_MAX: Final = 3
UNREAD_S_MIN: Final = 900.0
"""The shortest time after which an app counts as unread: some attempts, with backoff."""

NAMED_MAX: Final = 3


class Health:
    """Verdict on the service. Used by one thread.

    Attributes:
        waiting_for: what it waits for before it can start; empty once it has.
        cluster: id of the Kafka cluster.
        failures: by app, the reason that its last reading failed.
    """

    def __init__(self, metrics: Metrics, poll_interval_s: float) -> None:
        self._metrics = metrics
        self._unread_s = max(UNREAD_S_MIN, READINGS_MISSED_MAX * poll_interval_s)
        self.waiting_for = "it has just started"
        self.cluster = ""
        self.failures: dict[str, str] = {}

    def verdict(self) -> Verdict:
        """Judge the service."""
        if self.waiting_for:
            return starting_verdict("wechat", self.waiting_for.rstrip("."), self.cluster)
        unread = self._metrics.unread(self._unread_s)
        problems = (Problem("observed", _sentence(unread, self.failures)),) if unread else ()
        return Verdict("wechat", problems, (), self.cluster)


def _sentence(unread: list[str], failures: Mapping[str, str]) -> str:
    shown = ", ".join(unread[:NAMED_MAX]) + (", ..." if len(unread) > NAMED_MAX else "")
    why = failures.get(unread[0], "the reading has not ended")
    return f"WeChat's counts of {len(unread):,} app(s) are not read ({shown}): {why}"
