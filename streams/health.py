"""The health of the worker, judged by what it knows itself."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from metering.health import Verdict, starting_verdict, verdict_of
from metering.health_checks import position_problems, takeover_problems
from streams.lag import Lag
from streams.preconditions import Preconditions

NOT_YET: Final = "it has just started"

MEANING: Final = "1 while what the service promises holds, 0 while not; before it has started only that"


class Health(Collector):
    """The worker's verdict on itself, also as a gauge with one value per promise."""

    def __init__(self, name: str, lag: Lag) -> None:
        self._name = name
        self._lag = lag
        self._preconditions: Preconditions | None = None
        self._generation: Callable[[], int] = lambda: 0
        self._joined = False

    def watch(self, preconditions: Preconditions, generation: Callable[[], int]) -> None:
        """Set what else the verdict depends on: the topics, and the generation of the consumer group."""
        self._preconditions, self._generation = preconditions, generation

    def verdict(self) -> Verdict:
        """The verdict now."""
        preconditions = self._preconditions
        if preconditions is None or not preconditions.checked:
            return starting_verdict("worker", (preconditions and preconditions.waiting) or NOT_YET)
        self._joined = self._joined or self._generation() > 0
        if not self._joined:
            return starting_verdict("worker", "it joins its consumer group", preconditions.cluster)
        problems = [
            *position_problems(self._lag.positions()),
            *takeover_problems(self._lag.pending_takeovers_s()),
        ]
        return verdict_of("worker", problems, preconditions.breaches, preconditions.cluster)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge, for the promises that can be judged now."""
        family = GaugeMetricFamily(self._name, MEANING, labels=["promise"])
        for promise, kept in self.verdict().promises_kept().items():
            family.add_metric([promise], float(kept))
        yield family
