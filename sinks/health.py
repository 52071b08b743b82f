"""Health of a service of this stage."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from metering.health import Problem, Service, Verdict, starting_verdict, verdict_of
from metering.health_checks import loop_problems
from sinks.preconditions import Preconditions

MEANING: Final = "1 while what the service promises holds, 0 while not; before it has started only that"


class Health(Collector):
    """Verdict on a service by what it notes of its work, also as a gauge per promise. Read by other threads.

    If the service `has_loop`, that must not stand still.
    """

    def __init__(
        self,
        name: str,
        service: Service,
        monotonic_s: Callable[[], float] = time.monotonic,
        *,
        has_loop: bool = True,
    ) -> None:
        self._name = name
        self._service = service
        self._monotonic_s = monotonic_s
        self._has_loop = has_loop
        self._preconditions: Preconditions | None = None
        self._problems: Callable[[], Iterable[Problem]] = tuple
        self._waiting_for = "it has just started"
        self._failure = ""
        self._turned_s: float | None = None

    def judge_by(self, preconditions: Preconditions, problems: Callable[[], Iterable[Problem]]) -> None:
        """Set what the verdict depends on: the topics, and a function that returns other problems."""
        self._preconditions, self._problems = preconditions, problems

    def set_waiting(self, why: str) -> None:
        """Note what the service waits for before it can start."""
        self._waiting_for = why.rstrip(".")

    def record_turn(self) -> None:
        """Note that a turn of the service's loop succeeded."""
        self._turned_s = self._monotonic_s()
        self._failure = ""

    def record_failure(self, why: str) -> None:
        """Note that a turn of the service's loop failed, and is tried again."""
        self._failure = why

    def verdict(self) -> Verdict:
        """Judge the service."""
        preconditions = self._preconditions
        cluster = preconditions.cluster if preconditions else ""
        if self._turned_s is None:
            return starting_verdict(self._service, self._waiting_for, cluster)
        found = list(self._problems())
        # While a server does not answer, the loop waits for it.
        if self._has_loop and not any(one.promise == "reachable" for one in found):
            found.extend(loop_problems(self._service, self._monotonic_s() - self._turned_s, self._failure))
        return verdict_of(self._service, found, preconditions.breaches if preconditions else (), cluster)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge: for each promise that can be judged now, 1 if it is kept, else 0."""
        family = GaugeMetricFamily(self._name, MEANING, labels=["promise"])
        for promise, kept in self.verdict().promises_kept().items():
            family.add_metric([promise], float(kept))
        yield family
