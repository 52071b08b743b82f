"""The use of one capability of an app by scene or by store, beside that of the time before."""

from datetime import date
from typing import Final, Literal, NamedTuple

from dashboards.reads.asking import Ask

Place = Literal["scene", "store"]

_PLACES: Final = """
SELECT
    toString({place}) AS of_place,
    sumIf(used.succeeded, day >= toDate(%(first)s)) AS calls,
    sumIf(used.succeeded, day < toDate(%(first)s)) AS calls_before,
    sumIf(used.uncovered, day >= toDate(%(first)s)) AS bare,
    sumIf(used.amount_micro_yuan, day >= toDate(%(first)s)) AS cost
FROM usage_daily AS used
WHERE appid = %(appid)s AND used.capability = %(of)s AND day >= toDate(%(before)s) AND day < toDate(%(end)s)
GROUP BY of_place
HAVING calls != 0 OR calls_before != 0
ORDER BY calls DESC, of_place
LIMIT %(most)s
"""


class PlaceUse(NamedTuple):
    """The use in one place.

    Attributes:
        name: of the scene or store; empty where events named none.
        calls: from the first day on.
        calls_before: in the time before it.
        uncovered: how many of the calls nothing covered.
        amount_micro_yuan: cost of the calls.
    """

    name: str
    calls: int
    calls_before: int
    uncovered: int
    amount_micro_yuan: int


class PlacesQuestion(NamedTuple):
    """The days that are asked for: from `before` to before `first`, and from there to before `end`."""

    appid: str
    capability: str
    before: date
    first: date
    end: date


def read_places(ask: Ask, question: PlacesQuestion, place: Place, most: int) -> list[PlaceUse]:
    """The places with the most calls, the busiest first."""
    given = {
        "appid": question.appid,
        "of": question.capability,
        "before": question.before.isoformat(),
        "first": question.first.isoformat(),
        "end": question.end.isoformat(),
        "most": most,
    }
    return [PlaceUse(*row) for row in ask(_PLACES.format(place=place), given)]
