"""The metrics of the memory of balances, and of what is decided by it."""

import math
import time
from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

MetricName = Literal[
    # Counter by route and reason: answers to which way a member signs up.
    "phonemeter_gateway_decisions_total",
    # Counter by outcome: holds that were asked for: granted, refused, or not decided (unavailable).
    "phonemeter_gateway_holds_total",
    # Gauge: seconds since the moment as of which all balances in memory are known; infinite without one.
    "phonemeter_gateway_balances_age_seconds",
    # Gauge: apps whose balances are in memory.
    "phonemeter_gateway_balances_apps",
    # Counter: ledger entries that were added up from the topic.
    "phonemeter_gateway_balances_entries_total",
    # Counter: times that the memory was filled from ClickHouse.
    "phonemeter_gateway_balances_fills_total",
    # Counter: failures of filling or following it, which were tried again.
    "phonemeter_gateway_balances_failures_total",
]


class BalanceMetrics:
    """The metrics of one memory, in the registry of its service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._decided: dict[tuple[str, str], Counter] = {}
        self.decisions = self._counter(
            "phonemeter_gateway_decisions_total", "Decisions which way a member signs up", "route", "reason"
        )
        self.holds = self._counter("phonemeter_gateway_holds_total", "Holds that were asked for", "outcome")
        self.entries = self._counter(
            "phonemeter_gateway_balances_entries_total", "Ledger entries that were added up"
        )
        self.fills = self._counter(
            "phonemeter_gateway_balances_fills_total", "Times that the balances were read"
        )
        self.failures = self._counter(
            "phonemeter_gateway_balances_failures_total", "Failures of reading or following the balances"
        )

    def decided(self, route: str, reason: str) -> None:
        """Count a decision."""
        key = (route, reason)
        if key not in self._decided:
            # Finding it by its labels takes as long as deciding.
            self._decided[key] = self.decisions.labels(route, reason)
        self._decided[key].inc()

    def watch(self, as_of_ms: Callable[[], int], apps: Callable[[], int]) -> None:
        """Export the age of a memory, and its size, as they are when asked for."""
        age: Final[MetricName] = "phonemeter_gateway_balances_age_seconds"
        known: Final[MetricName] = "phonemeter_gateway_balances_apps"
        meaning = "Seconds since the moment as of which all balances in memory are known"
        Gauge(age, meaning, registry=self._registry).set_function(lambda: _age_s(as_of_ms()))
        Gauge(known, "Apps whose balances are in memory", registry=self._registry).set_function(apps)

    def _counter(self, name: MetricName, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self._registry)


def _age_s(as_of_ms: int) -> float:
    return math.inf if as_of_ms < 0 else max(0.0, time.time() - as_of_ms / 1_000)
