"""The packages of the product, for tests that look at all of its code."""

from typing import Final

PACKAGES: Final = (
    "metering",
    "http_service",
    "kafka_access",
    "secret_files",
    "producers",
    "streams",
    "sinks",
    "dashboards",
    "phonemeter",
)
