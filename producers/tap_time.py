"""The time of a tap: the phone's, as far as the server's clock allows it."""

from datetime import UTC, datetime, timedelta
from typing import Final

from metering.times import from_ms, parse_time
from producers.clock import wall_clock_ms

CODE_VALID: Final = timedelta(minutes=5)
"""Time for which WeChat takes a code: a tap whose code comes later can't be exchanged any more."""


def tap_time(phone_time: str | datetime | None, *, received_at: datetime | None = None) -> datetime:
    """The time for an event of a tap.

    That is the phone's time, if it lies within the five minutes before the request was received; otherwise
    the phone's clock is wrong, or somebody made the time up, and it is when the request was received.

    Args:
        phone_time: what the phone says; a text is `new Date().toISOString()` of the success callback.
        received_at: when your server received the request, by its own clock; now, unless given.
    """
    received = received_at or from_ms(wall_clock_ms())
    told = _read(phone_time)
    if told is None or not received - CODE_VALID <= told <= received:
        return received
    return told


def _read(phone_time: str | datetime | None) -> datetime | None:
    if isinstance(phone_time, str):
        try:
            return from_ms(parse_time(phone_time))
        except ValueError:
            return None
    if phone_time is None or phone_time.tzinfo is None:
        return None
    return phone_time.astimezone(UTC)
