"""Times: UTC milliseconds internally, RFC 3339 in events, Shanghai days for people (rule 12)."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from msgspec import Struct

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

SHANGHAI: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
"""A fixed offset is exact: Asia/Shanghai has had no daylight saving time since 1991."""

SHANGHAI_OFFSET_MS: Final = 8 * HOUR_MS

EARLIEST_MS: Final = 1_483_228_800_000
"""2017-01-01T00:00:00Z: mini-programs began in 2017."""

LATEST_MS: Final = 2_524_608_000_000
"""2050-01-01T00:00:00Z. Offline no arrival limits an event's time, and one absurd time would advance an app's
clock past the expiry of all its packs."""

CLOCK_SKEW_MS: Final = HOUR_MS
"""The longest that an event's time may be ahead of its record's arrival."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """UTC milliseconds of an aware datetime, rounded down."""
    since = moment - _EPOCH
    return since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000


def from_ms(time_ms: int) -> datetime:
    """The aware UTC datetime of a count of milliseconds."""
    return datetime.fromtimestamp(time_ms // 1_000, UTC) + timedelta(milliseconds=time_ms % 1_000)


def parse_time(text: str) -> int:
    """UTC milliseconds of an RFC 3339 text with a zone.

    Raises:
        ValueError: not such a text.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write it like 2026-10-17T10:05:03.120Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; add Z or an offset such as +08:00")
    return to_ms(moment)


def shanghai_time(time_ms: int) -> str:
    """The Shanghai time of a moment for people, to the second, such as `2026-10-17 18:05:03 (Shanghai)`."""
    return f"{from_ms(time_ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S} (Shanghai)"


def format_time(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, such as `2026-10-17T10:05:03.120Z`."""
    return from_ms(time_ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1_000:03d}Z"


def shanghai_day(time_ms: int) -> int:
    """The Shanghai calendar day of a moment, as days since 1970-01-01."""
    return (time_ms + SHANGHAI_OFFSET_MS) // DAY_MS


def shanghai_midnight(time_ms: int) -> int:
    """The first millisecond of the Shanghai day of a moment."""
    return shanghai_day(time_ms) * DAY_MS - SHANGHAI_OFFSET_MS


class Minute(Struct, frozen=True, gc=False):
    """A minute of time, with its Shanghai day.

    Attributes:
        begins_ms, ends_ms: its first millisecond, and the first of the next.
        number: since 1970.
        day: the Shanghai calendar day, as days since 1970-01-01.
    """

    begins_ms: int
    ends_ms: int
    number: int
    day: int


def minute_of(time_ms: int) -> Minute:
    """The minute of a moment."""
    number = time_ms // MINUTE_MS
    begins_ms = number * MINUTE_MS
    return Minute(begins_ms, begins_ms + MINUTE_MS, number, shanghai_day(begins_ms))


def shanghai_date(time_ms: int) -> date:
    """The Shanghai calendar date of a moment."""
    return date(1970, 1, 1) + timedelta(days=shanghai_day(time_ms))
