"""The time that a curve shows: its hours, days or months, those before it, and those to come."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple

from dashboards.console.languages import marked
from dashboards.reads.usage import Period
from metering.times import DAY_MS, HOUR_MS, SHANGHAI, from_ms, shanghai_date, to_ms

MONTHS: Final = 12


class WindowChoice(NamedTuple):
    """A window that may be asked for.

    Attributes:
        name: in the address of the page.
        period: of each point.
        days: length, with today; 0 for twelve months.
        ahead: points of the forecast behind today or this month.
        title: in English, marked for translation.
    """

    name: str
    period: Period
    days: int
    ahead: int
    title: str


WINDOWS: Final = (
    WindowChoice("hours", "hour", 1, 0, marked("Today by the hour")),
    WindowChoice("week", "hour", 7, 0, marked("7 days by the hour")),
    WindowChoice("days", "day", 28, 10, marked("28 days")),
    WindowChoice("quarter", "day", 91, 30, marked("91 days")),
    WindowChoice("months", "month", 0, 3, marked("12 months")),
)
"""Days are whole weeks, so that the time before has the same weekdays."""

USUAL: Final = WINDOWS[2]


class UsageWindow(NamedTuple):
    """The points of a curve.

    Attributes:
        period: of each.
        before, first, end: Shanghai days: the first of the time before, of the window, and of what follows.
        begins: of each point of the window.
        earlier: of each point of the time before, as many.
        ahead: of each point to come, and the end of the last.
        now_ms: what is now.
    """

    period: Period
    before: date
    first: date
    end: date
    begins: list[datetime]
    earlier: list[datetime]
    ahead: list[datetime]
    now_ms: int

    @property
    def ended(self) -> int:
        """The number of points of the window that are over; the one after these goes on."""
        now = from_ms(self.now_ms)
        return max(0, sum(begin <= now for begin in self.begins) - 1)


def chosen_window(name: str) -> WindowChoice:
    """The choice of a name, or the usual one."""
    return next((choice for choice in WINDOWS if choice.name == name), USUAL)


def window_of(choice: WindowChoice, now_ms: int) -> UsageWindow:
    """The window that a choice means at a time."""
    today = shanghai_date(now_ms)
    if choice.period == "month":
        first, before = _month(today, 1 - MONTHS), _month(today, 1 - 2 * MONTHS)
        return UsageWindow(
            choice.period,
            before,
            first,
            _month(today, 1),
            [_midnight(_month(first, at)) for at in range(MONTHS)],
            [_midnight(_month(before, at)) for at in range(MONTHS)],
            [_midnight(_month(today, at)) for at in range(1, choice.ahead + 2)],
            now_ms,
        )
    end = today + timedelta(days=1)
    first = end - timedelta(days=choice.days)
    before = first - timedelta(days=choice.days)
    step_ms = HOUR_MS if choice.period == "hour" else DAY_MS
    return UsageWindow(
        choice.period,
        before,
        first,
        end,
        list(_steps(first, end, step_ms)),
        list(_steps(before, first, step_ms)),
        list(_steps(end, end + timedelta(days=choice.ahead + 1), DAY_MS)),
        now_ms,
    )


def _steps(first: date, end: date, step_ms: int) -> Iterator[datetime]:
    for at_ms in range(to_ms(_midnight(first)), to_ms(_midnight(end)), step_ms):
        yield from_ms(at_ms).astimezone(SHANGHAI)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)


def _month(day: date, later: int) -> date:
    """The first day of the month that is so many months later."""
    months = day.year * 12 + day.month - 1 + later
    return date(months // 12, months % 12 + 1, 1)
