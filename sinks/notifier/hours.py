"""Quiet hours and digests: when an alert that is known now is delivered. Pure; times are UTC milliseconds."""

from datetime import UTC, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from metering.times import from_ms, to_ms
from sinks.notifier.severity import Severity


class Quiet(NamedTuple):
    """From `begin` to before `end` on the clock of `zone` nobody is disturbed, unless `urgent_passes`."""

    begin: time
    end: time
    zone: ZoneInfo
    urgent_passes: bool = True


class Digest(NamedTuple):
    """Several alerts in one message, hourly at `at`'s minute or daily at `at`, by the clock of `zone`."""

    every: Literal["hour", "day"]
    at: time
    zone: ZoneInfo
    urgent_passes: bool = True


def due_ms(now_ms: int, severity: Severity, quiet: Quiet | None, digest: Digest | None) -> int:
    """When to deliver: `now_ms` itself, or the later moment until which the alert is held."""
    urgent = severity == "urgent"
    at_ms = now_ms
    if digest is not None and not (urgent and digest.urgent_passes):
        at_ms = _next_digest_ms(now_ms, digest)
    if quiet is not None and not (urgent and quiet.urgent_passes):
        at_ms = _quiet_end_ms(at_ms, quiet)
    return at_ms


def is_quiet(at_ms: int, quiet: Quiet) -> bool:
    """Whether a moment is in the quiet hours."""
    clock = _local(at_ms, quiet.zone).time()
    if quiet.begin <= quiet.end:
        return quiet.begin <= clock < quiet.end
    return clock >= quiet.begin or clock < quiet.end


def _quiet_end_ms(at_ms: int, quiet: Quiet) -> int:
    if not is_quiet(at_ms, quiet):
        return at_ms
    return _first_after(at_ms, quiet.end, quiet.zone)


def _next_digest_ms(now_ms: int, digest: Digest) -> int:
    if digest.every == "day":
        return _first_after(now_ms, digest.at, digest.zone)
    # By the hour of UTC: the clocks of a zone jump by whole hours or not at all in the hour concerned.
    local = _local(now_ms, digest.zone)
    slot = local.replace(minute=digest.at.minute, second=0, microsecond=0)
    slot_ms = to_ms(slot)
    return slot_ms if slot_ms > now_ms else to_ms(slot.astimezone(UTC) + timedelta(hours=1))


def _first_after(now_ms: int, clock: time, zone: ZoneInfo) -> int:
    """The first moment after now at which the clock shows `clock`, or would if it did not skip it."""
    today = _local(now_ms, zone).date()
    moments = (to_ms(datetime.combine(today + timedelta(days=days), clock, zone)) for days in (-1, 0, 1, 2))
    return next(moment for moment in moments if moment > now_ms)


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return from_ms(at_ms).astimezone(zone)
