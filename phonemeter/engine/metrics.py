"""Metrics of the embedded engine, on `/metrics` of its HTTP port."""

import shutil
from pathlib import Path
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from http_service.process_metrics import add_process_metrics

MetricName = Literal[
    "phonemeter_engine_confined",
    "phonemeter_engine_connections",
    "phonemeter_engine_connections_refused_total",
    "phonemeter_engine_disk_free_bytes",
    "phonemeter_engine_disk_size_bytes",
]

Refusal = Literal["full", "no_thread", "no_file"]

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class EngineMetrics:
    """The metrics of one engine on one data directory, in a registry of their own."""

    def __init__(self, data: Path, *, confined: bool) -> None:
        self.registry = CollectorRegistry()
        add_process_metrics(self.registry)
        self.connections = self._gauge(
            "phonemeter_engine_connections", "Connections of clients that are open, native and HTTP together"
        )
        refused: MetricName = "phonemeter_engine_connections_refused_total"
        meaning = "Connections refused: the limit was reached, or no thread or no file was to be had"
        self._refused = Counter(refused, meaning, ["reason"], registry=self.registry)
        for reason in get_args(Refusal):
            self._refused.labels(reason)
        self._gauge(
            "phonemeter_engine_confined",
            "Whether the kernel keeps the engine from files outside its directory and from connecting",
        ).set(confined)
        self._gauge(
            "phonemeter_engine_disk_free_bytes", "Free space of the disk that the data is on"
        ).set_function(lambda: shutil.disk_usage(data).free)
        self._gauge("phonemeter_engine_disk_size_bytes", "Size of the disk that the data is on").set_function(
            lambda: shutil.disk_usage(data).total
        )

    def refused(self, reason: Refusal) -> None:
        """Count a connection that was not served."""
        self._refused.labels(reason).inc()

    def page(self) -> bytes:
        """The metrics in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _gauge(self, name: MetricName, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)
