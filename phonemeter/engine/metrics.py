"""What the embedded engine tells Prometheus, on `/metrics` of its HTTP port."""

import shutil
from pathlib import Path
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

MetricName = Literal[
    "phonemeter_engine_connections",
    "phonemeter_engine_disk_free_bytes",
    "phonemeter_engine_disk_size_bytes",
]

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The metrics of one engine on one data directory, in a registry of their own."""

    def __init__(self, data: Path) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.connections = self._gauge(
            "phonemeter_engine_connections", "Connections of clients that are open, native and HTTP together"
        )
        self._gauge(
            "phonemeter_engine_disk_free_bytes", "Free space of the disk that the data is on"
        ).set_function(lambda: shutil.disk_usage(data).free)
        self._gauge("phonemeter_engine_disk_size_bytes", "Size of the disk that the data is on").set_function(
            lambda: shutil.disk_usage(data).total
        )

    def page(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self.registry)

    def _gauge(self, name: MetricName, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)
