"""Health of the gateway: it has started, Kafka takes its events, keys are known, and answers are fresh."""

from collections.abc import Callable

from metering.health import Problem, Verdict, starting_verdict


class Health:
    """Verdict on the gateway.

    Args:
        troubles: reads what does not work now.
        has_started: reads whether the keys were read and Kafka has answered, or has failed to.
        cluster: reads the id of the Kafka cluster.
        stale: reads what of the answers to reads and decisions is missing or out of date.
    """

    def __init__(
        self,
        troubles: Callable[[], tuple[str, ...]],
        has_started: Callable[[], bool],
        cluster: Callable[[], str] = lambda: "",
        stale: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._troubles = troubles
        self._has_started = has_started
        self._cluster = cluster
        self._stale = stale

    def verdict(self) -> Verdict:
        """Judge the gateway."""
        troubles = self._troubles()
        if not self._has_started():
            why = troubles[0].rstrip(".") if troubles else "it has just started"
            return starting_verdict("gateway", why, self._cluster())
        problems = (
            *(Problem("reachable", one) for one in troubles),
            *(Problem("fresh", one) for one in self._stale()),
        )
        return Verdict("gateway", problems, (), self._cluster())
