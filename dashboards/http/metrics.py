"""The metrics of the reads: every name in one place with its meaning."""

from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MetricName = Literal[
    # Histogram by read: seconds from its turn being asked for to its answer.
    "phonemeter_reads_seconds",
    # Gauge: reads that wait for their turn or are under way.
    "phonemeter_reads_open",
    # Counter by outcome: `answered`, `unchanged` (304), or why there was no answer.
    "phonemeter_reads_total",
    # Gauge: seconds since the moment up to which all that had arrived is known to be stored.
    "phonemeter_reads_incomplete_seconds",
]

Outcome = Literal["answered", "unchanged", "refused", "not_found", "busy", "too_long", "too_much", "away"]

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ReadsMetrics:
    """The metrics of the reads of one gateway."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        seconds: MetricName = "phonemeter_reads_seconds"
        self.seconds = Histogram(
            seconds, "Seconds per read, waiting included", ("read",), registry=self.registry, buckets=SECONDS
        )
        self.open = self._gauge("phonemeter_reads_open", "Reads that wait or are under way")
        total: MetricName = "phonemeter_reads_total"
        self.total = Counter(total, "Reads by outcome", ("read", "outcome"), registry=self.registry)
        self.incomplete = self._gauge(
            "phonemeter_reads_incomplete_seconds",
            "Seconds since the moment up to which all that had arrived is known to be stored",
        )

    def _gauge(self, name: MetricName, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)
