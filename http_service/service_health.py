"""The gauge of a service's health, by promise."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from metering.health import Verdict


class HealthCollector(Collector):
    """Collects, for each promise that can be judged now, 1 if it is kept, else 0."""

    def __init__(self, name: str, meaning: str, verdict: Callable[[], Verdict]) -> None:
        self._name = name
        self._meaning = meaning
        self._verdict = verdict

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge as of now."""
        family = GaugeMetricFamily(self._name, self._meaning, labels=["promise"])
        for promise, kept in self._verdict().promises_kept().items():
            family.add_metric([promise], float(kept))
        yield family
