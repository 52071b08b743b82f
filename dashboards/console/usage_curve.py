"""A usage curve: the calls of each point, of the same point before, and those expected."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from dashboards.console.usage_window import UsageWindow
from dashboards.reads.asking import Ask
from dashboards.reads.usage import Period, PeriodUsage, UsageQuestion, read_usage
from metering.times import SHANGHAI, from_ms, to_ms


class CurvePoint(NamedTuple):
    """A point of a curve; what is not known there is None."""

    begins_ms: int
    calls: int | None
    before: int | None
    expected: float | None


class CurveTotals(NamedTuple):
    """Sums of the window.

    Attributes:
        calls, uncovered, amount_micro_yuan: of the window so far.
        before: calls of the time before.
        change: of the hours, days or months that are over against as many before; None without any before.
    """

    calls: int
    uncovered: int
    amount_micro_yuan: int
    before: int
    change: float | None


class UsageCurve(NamedTuple):
    """A curve and its sums."""

    period: Period
    points: list[CurvePoint]
    totals: CurveTotals

    @property
    def columns(self) -> dict[str, object]:
        """The curve as the script of the page draws it."""
        return {
            "period": self.period,
            "begins": [point.begins_ms // 1_000 for point in self.points],
            "calls": [point.calls for point in self.points],
            "before": [point.before for point in self.points],
            "expected": [point.expected for point in self.points],
        }


def read_curve_rows(ask: Ask, appid: str, capability: str, window: UsageWindow) -> list[PeriodUsage]:
    """The use in the window and in the time before."""
    question = UsageQuestion(window.period, window.before, window.end, None, capability)
    most = len(window.begins) + len(window.earlier)
    return read_usage(ask, appid, question, most=most).rows


def usage_curve(
    window: UsageWindow, rows: Sequence[PeriodUsage], expected: Mapping[date, float]
) -> UsageCurve:
    """The curve of what was read; points without any use are zero."""
    found = {_begin(row, window.period): row for row in rows}
    now = from_ms(window.now_ms)
    this = [_calls(found, begin) if begin <= now else None for begin in window.begins]
    earlier = [_calls(found, begin) for begin in window.earlier]
    points = [
        CurvePoint(to_ms(begin), calls, before, None)
        for begin, calls, before in zip(window.begins, this, earlier, strict=True)
    ]
    if len(window.ahead) > 1 and expected:
        points = _with_forecast(points, window, expected)
    known = [row for begin in window.begins if (row := found.get(begin)) is not None]
    ended = window.ended
    over, over_before = sum(one or 0 for one in this[:ended]), sum(earlier[:ended])
    totals = CurveTotals(
        sum(row.succeeded for row in known),
        sum(row.uncovered for row in known),
        sum(row.amount_micro_yuan for row in known),
        sum(earlier),
        (over - over_before) / over_before if over_before else None,
    )
    return UsageCurve(window.period, points, totals)


def _with_forecast(
    points: list[CurvePoint], window: UsageWindow, expected: Mapping[date, float]
) -> list[CurvePoint]:
    """The points, the newest with what is expected of it in all, and those to come.

    The line of the forecast begins where the use ends: at the last point that is over.
    """
    *over, going_on = points
    if over:
        over[-1] = over[-1]._replace(expected=over[-1].calls)
    rest = _expected(expected, from_ms(window.now_ms).astimezone(SHANGHAI), window.ahead[0])
    whole = None if rest is None else round((going_on.calls or 0) + rest, 1)
    to_come = (
        (begin, _expected(expected, begin, end))
        for begin, end in zip(window.ahead, window.ahead[1:], strict=False)
    )
    return [
        *over,
        going_on._replace(expected=whole),
        *(
            CurvePoint(to_ms(begin), None, None, round(calls, 1))
            for begin, calls in to_come
            if calls is not None
        ),
    ]


def _expected(expected: Mapping[date, float], begin: datetime, end: datetime) -> float | None:
    """The calls expected between two midnights; None if the forecast does not reach that far."""
    if (end - timedelta(days=1)).date() not in expected:
        return None
    return sum(calls for day, calls in expected.items() if begin.date() <= day < end.date())


def _calls(found: Mapping[datetime, PeriodUsage], begin: datetime) -> int:
    row = found.get(begin)
    return 0 if row is None else row.succeeded


def _begin(row: PeriodUsage, period: Period) -> datetime:
    if period == "hour":
        return datetime.fromisoformat(row.begins)
    return datetime.combine(date.fromisoformat(row.begins), datetime.min.time(), SHANGHAI)
