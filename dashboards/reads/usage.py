"""The use of an app by Shanghai hour, day or month, in total or by scene and store."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from dashboards.reads.asking import Ask
from metering.events import Capability
from metering.times import SHANGHAI

Period = Literal["hour", "day", "month"]
Grouping = Literal["scene", "store", "scene,store"]

DAYS_MAX: Final[dict[Period, int]] = {"hour": 31, "day": 400, "month": 3_700}
"""The longest time that is asked for at once: by the hour the lines themselves are read."""

DAYS_DEFAULT: Final[dict[Period, int]] = {"hour": 1, "day": 30, "month": 365}

_VIEWS: Final[dict[Period, str]] = {"hour": "usage_hourly", "day": "usage_daily", "month": "usage_monthly"}
_BEGINS: Final[dict[Period, str]] = {
    "hour": "toString(toUnixTimestamp(hour))",
    "day": "toString(day)",
    "month": "toString(month)",
}
_WITHIN: Final[dict[Period, str]] = {
    "hour": "hour >= toDateTime(%(first)s, 'Asia/Shanghai') AND hour < toDateTime(%(end)s, 'Asia/Shanghai')",
    "day": "day >= toDate(%(first)s) AND day < toDate(%(end)s)",
    "month": "month >= toStartOfMonth(toDate(%(first)s)) AND month < toDate(%(end)s)",
}
_PLACES: Final[dict[Grouping | None, tuple[str, ...]]] = {
    None: (),
    "scene": ("scene",),
    "store": ("store",),
    "scene,store": ("scene", "store"),
}
_SUMS: Final = (
    "succeeded",
    "charged",
    "trial_charged",
    "free",
    "exempt",
    "uncovered",
    "denied",
    "failed",
    "duplicates",
    "amount_micro_yuan",
)
_USAGE: Final = """
SELECT {begins} AS begins, toString(used.capability) AS of, {places}, {sums}
FROM {view} AS used
WHERE appid = %(appid)s AND {within} AND (%(of)s = '' OR used.capability = %(of)s)
GROUP BY begins, of, of_scene, of_store
HAVING (begins, of, of_scene, of_store) > %(after)s
ORDER BY begins, of, of_scene, of_store
LIMIT %(most)s
"""

BEFORE_USAGE: Final = ("", "", "", "")


class PeriodUsage(Struct, frozen=True, kw_only=True):
    """The use of one capability in one hour, day or month, where grouped by places, of one of them.

    Attributes:
        begins: the beginning in Shanghai: of an hour with its offset, of a day or month the date.
        scene, store: only where grouped by it.
        succeeded: calls: charged + trial_charged + free + exempt + uncovered.
        charged: calls taken from packs.
        trial_charged: calls taken from the trial quota.
        free: calls before billing started.
        exempt: calls of an exempt app.
        uncovered: calls that nothing covered.
        denied, failed: authorizations that are no calls.
        duplicates: events that were received again.
        amount_micro_yuan: the cost of the charged calls, in millionths of a yuan.
    """

    begins: str
    capability: Capability
    scene: str | UnsetType = UNSET
    store: str | UnsetType = UNSET
    succeeded: int
    charged: int
    trial_charged: int
    free: int
    exempt: int
    uncovered: int
    denied: int
    failed: int
    duplicates: int
    amount_micro_yuan: Annotated[int, Meta(description="Money in millionths of a yuan")]


class UsageQuestion(NamedTuple):
    """A question: a period, days from `first` to before `end`, a grouping, one capability or all."""

    period: Period
    first: date
    end: date
    group: Grouping | None = None
    capability: str = ""


class FoundUsage(NamedTuple):
    """Rows of use, and the place of each in their order."""

    rows: list[PeriodUsage]
    places: list[tuple[str, str, str, str]]


def read_usage(
    ask: Ask, appid: str, question: UsageQuestion, *, after: Sequence[str] = BEFORE_USAGE, most: int
) -> FoundUsage:
    """The use of an app behind a place in the order, at most so many rows; periods without any have none."""
    period, places = question.period, _PLACES[question.group]
    query = _USAGE.format(
        begins=_BEGINS[period],
        places=", ".join(
            f"toString({name}) AS of_{name}" if name in places else f"'' AS of_{name}"
            for name in ("scene", "store")
        ),
        sums=", ".join(f"sum(used.{name}) AS all_{name}" for name in _SUMS),
        view=_VIEWS[period],
        within=_WITHIN[period],
    )
    found = ask(
        query,
        {
            "appid": appid,
            "first": question.first.isoformat(),
            "end": question.end.isoformat(),
            "of": question.capability,
            "after": tuple(after),
            "most": most,
        },
    )
    return FoundUsage([_row(row, period, places) for row in found], [row[:4] for row in found])


def _row(row: tuple[Any, ...], period: Period, places: Sequence[str]) -> PeriodUsage:
    begins, capability, scene, store, *sums = row
    shown = datetime.fromtimestamp(int(begins), SHANGHAI).isoformat() if period == "hour" else begins
    return PeriodUsage(
        begins=shown,
        capability=capability,
        scene=scene if "scene" in places else UNSET,
        store=store if "store" in places else UNSET,
        **dict(zip(_SUMS, sums, strict=True)),
    )
