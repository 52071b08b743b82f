"""Metrics that every service has: those of its process, and of the build that it runs."""

from typing import Final

from prometheus_client import CollectorRegistry, Info, ProcessCollector

from http_service.build_info import build

OF_EVERY_SERVICE: Final = ("process_", "phonemeter_build")
"""Prefixes of the metrics that are added."""


def add_process_metrics(registry: CollectorRegistry) -> None:
    """Add the metrics to the registry of a service."""
    ProcessCollector(registry=registry)
    info = Info("phonemeter_build", "Version and revision of the program", registry=registry)
    info.info(build()._asdict())
