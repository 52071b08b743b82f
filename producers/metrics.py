"""Metrics of a running `phonemeter emit`."""

from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from producers.emission import Totals

MetricName = Literal["phonemeter_emit_events_total", "phonemeter_emit_waiting_events"]


class Metrics:
    """The metrics of one emission in a registry of their own, read from `totals` at each scrape."""

    def __init__(self, totals: Callable[[], Totals]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_TotalsCollector(totals))


class _TotalsCollector(Collector):
    def __init__(self, totals: Callable[[], Totals]) -> None:
        self._totals = totals

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        totals = self._totals()
        name: MetricName = "phonemeter_emit_events_total"
        events = CounterMetricFamily(
            name,
            "Events delivered to Kafka, refused because they are none, or not delivered",
            labels=["outcome"],
        )
        for outcome in ("delivered", "refused", "failed"):
            events.add_metric([outcome], getattr(totals, outcome))
        yield events
        name = "phonemeter_emit_waiting_events"
        waiting = totals.accepted - totals.delivered - totals.failed
        yield GaugeMetricFamily(name, "Events that were accepted and wait for Kafka's answer", value=waiting)
