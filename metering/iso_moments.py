"""Moments in JSON: in ISO 8601 instead of milliseconds, and named accordingly."""

from typing import Final

from metering.times import format_time

MOMENTS: Final = {
    "time_ms": "time",
    "as_of_ms": "as_of",
    "clock_ms": "clock_at",
    "run_out_ms": "run_out_at",
    "earliest_ms": "earliest_at",
    "latest_ms": "latest_at",
    "first_ms": "first_at",
    "last_ms": "last_at",
}
"""Moments in milliseconds, and their names in JSON. Every `..._at_ms` is one too; no other `..._ms` is."""


def with_iso_moments(value: object) -> object:
    """The value with each moment in ISO 8601 (UTC)."""
    if isinstance(value, list):
        return [with_iso_moments(one) for one in value]
    if not isinstance(value, dict):
        return value
    named: dict[object, object] = {}
    for name, one in value.items():
        moment = isinstance(name, str) and (name in MOMENTS or name.endswith("_at_ms"))
        if moment and (one is None or isinstance(one, int)):
            named[MOMENTS.get(name, name.removesuffix("_ms"))] = None if one is None else format_time(one)
        else:
            named[name] = with_iso_moments(one)
    return named
