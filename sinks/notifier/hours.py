"""Quiet hours and digests: the time at which an alert is delivered. Pure; times are UTC milliseconds."""

from datetime import UTC, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from metering.alert_severity import Severity
from metering.times import from_ms, to_ms


class QuietHours(NamedTuple):
    """Daily hours without messages, from `begin` to before `end`; urgent ones are sent if `urgent_passes`."""

    begin: time
    end: time
    zone: ZoneInfo
    urgent_passes: bool = True


class Digest(NamedTuple):
    """Alerts of an hour or a day in one message, at the minute of `at` or at `at` by the clock of `zone`."""

    every: Literal["hour", "day"]
    at: time
    zone: ZoneInfo
    urgent_passes: bool = True


def due_ms(now_ms: int, severity: Severity, quiet: QuietHours | None, digest: Digest | None) -> int:
    """The time to deliver at: `now_ms` itself, or the later one until which the alert is held."""
    urgent = severity == "urgent"
    at_ms = now_ms
    if digest is not None and not (urgent and digest.urgent_passes):
        at_ms = _next_digest_ms(now_ms, digest)
    if quiet is not None and not (urgent and quiet.urgent_passes):
        at_ms = _quiet_end_ms(at_ms, quiet)
    return at_ms


def is_quiet(at_ms: int, quiet: QuietHours) -> bool:
    """Return whether a moment is in the quiet hours."""
    clock = _local(at_ms, quiet.zone).time()
    if quiet.begin <= quiet.end:
        return quiet.begin <= clock < quiet.end
    return clock >= quiet.begin or clock < quiet.end


def _quiet_end_ms(at_ms: int, quiet: QuietHours) -> int:
    if not is_quiet(at_ms, quiet):
        return at_ms
    return _first_after(at_ms, quiet.end, quiet.zone)


def _next_digest_ms(now_ms: int, digest: Digest) -> int:
    if digest.every == "day":
        return _first_after(now_ms, digest.at, digest.zone)
    # Added in UTC, because the hour of a zone may be skipped or repeated; its minutes are not.
    local = _local(now_ms, digest.zone)
    slot = local.replace(minute=digest.at.minute, second=0, microsecond=0)
    slot_ms = to_ms(slot)
    return slot_ms if slot_ms > now_ms else to_ms(slot.astimezone(UTC) + timedelta(hours=1))


def _first_after(now_ms: int, clock: time, zone: ZoneInfo) -> int:
    """The first moment after now at which the clock shows `clock`, or would show it if it did not jump."""
    today = _local(now_ms, zone).date()
    moments = (to_ms(datetime.combine(today + timedelta(days=days), clock, zone)) for days in (-1, 0, 1, 2))
    return next(moment for moment in moments if moment > now_ms)


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return from_ms(at_ms).astimezone(zone)
