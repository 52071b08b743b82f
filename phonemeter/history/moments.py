"""Times of files: with a zone, without one, or as a number since 1970."""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from metering.times import SHANGHAI, to_ms
from phonemeter.errors import UserError

EPOCH_UNITS: Final = ((1_000, 10), (1, 13), (Decimal("0.001"), 16), (Decimal("0.000001"), 19))
"""Milliseconds of a second, a millisecond, a microsecond and a nanosecond, with the digits that such a count
since 1970 has from 2001 to 2286: no number has two meanings."""

ZONES: Final[dict[str, tzinfo]] = {"Asia/Shanghai": SHANGHAI, "UTC": UTC, "Z": UTC}

_NUMBER: Final = re.compile(r"[0-9]{10,19}(?:\.[0-9]{1,9})?")
_COMPACT: Final = re.compile(r"(?:19|20)[0-9]{12}")
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
_WRITTEN: Final = re.compile(
    r"(\d{4})(?:[-/.]|年)(\d{1,2})(?:[-/.]|月)(\d{1,2})(?:日)?[T ]*"
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)? *(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
"""Forms that a spreadsheet writes, and ISO 8601; the year comes first, so day and month can't be confused."""


def parse_zone(text: str) -> tzinfo:
    """The time zone of a name or an offset.

    Raises:
        UserError: there is none of this name.
    """
    if text in ZONES:
        return ZONES[text]
    offset = _OFFSET.fullmatch(text)
    try:
        return _zone_of(offset) if offset is not None else ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise UserError(
            f"{text[:60]!r} is no time zone that is known here; write it like Asia/Shanghai, UTC or +08:00."
        ) from None


class Moments:
    """The reading of times.

    Args:
        zone: of times without one; None refuses them.
        form: of times in text, as for `strptime`; None for those of ISO 8601 and of spreadsheets.
    """

    def __init__(self, zone: tzinfo | None, form: str | None = None) -> None:
        self._zone = zone
        self._form = form

    def read(self, value: object) -> int:
        """UTC milliseconds of a value.

        Raises:
            ValueError: it is no time, or its zone is not known; the message has the reason.
        """
        if isinstance(value, datetime):
            return self._zoned(value)
        if isinstance(value, date):
            raise ValueError(f"{value} is a day without a time of day")  # noqa: TRY004 - the type is the file's
        if isinstance(value, int | Decimal | float) and not isinstance(value, bool):
            return _since_1970(str(value))
        if not isinstance(value, str):
            raise ValueError(f"{str(value)[:40]!r} is no time")  # noqa: TRY004 - as above
        text = value.strip()
        return self._by_form(text, self._form) if self._form else self._written(text)

    def _by_form(self, text: str, form: str) -> int:
        try:
            return self._zoned(datetime.strptime(text, form))  # noqa: DTZ007 - the zone is added
        except ValueError as error:
            if "zone" in str(error):
                raise
            raise ValueError(f"{text[:40]!r} does not have the form {form!r}") from None

    def _written(self, text: str) -> int:
        if _COMPACT.fullmatch(text):
            return self._by_form(text, "%Y%m%d%H%M%S")
        if _NUMBER.fullmatch(text):
            return _since_1970(text)
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text[:40]!r} is no time; write it like 2026-05-03T10:05:03+08:00, or give its form with "
                "--time-format"
            )
        year, month, day, hour, minute, second, fraction, zone = match.groups()
        micro = int(fraction[:6].ljust(6, "0")) if fraction else 0
        try:
            moment = datetime(  # noqa: DTZ001 - the zone is added
                int(year), int(month), int(day), int(hour), int(minute), int(second or 0), micro
            )
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no time that exists") from None
        if zone is None:
            return self._zoned(moment)
        offset = _OFFSET.fullmatch(zone)
        return to_ms(moment.replace(tzinfo=UTC if offset is None else _zone_of(offset)))

    def _zoned(self, moment: datetime) -> int:
        if moment.tzinfo is not None:
            return to_ms(moment)
        if self._zone is None:
            raise ValueError(
                f"{moment.isoformat(' ')} has no time zone; say which one is meant, such as "
                "--zone Asia/Shanghai"
            )
        there = moment.replace(tzinfo=self._zone)
        if there.utcoffset() != there.replace(fold=1).utcoffset():
            raise ValueError(
                f"{moment.isoformat(' ')} occurs twice or not at all in {self._zone}, where the clocks "
                "change; write it with its offset, such as +02:00"
            )
        return to_ms(there)


def _zone_of(offset: re.Match[str]) -> timezone:
    sign, hours, minutes = offset.groups()
    difference = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-difference if sign == "-" else difference)


def _since_1970(text: str) -> int:
    if _NUMBER.fullmatch(text):
        digits = len(text.partition(".")[0])
        for unit_ms, length in EPOCH_UNITS:
            if digits == length:
                return int(Decimal(text) * unit_ms)
    raise ValueError(
        f"{text[:40]!r} is no time: a number counts seconds (10 digits), milliseconds (13), microseconds "
        "(16) or nanoseconds (19) since 1970"
    )
