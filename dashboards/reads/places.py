"""The use of one capability of an app by scene or by store, beside that of the time before."""

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal, NamedTuple

from dashboards.reads.asking import Ask

Place = Literal["scene", "store"]

_PLACES: Final = """
SELECT
    if(grouping(of_store) = 1, 'scene', 'store') AS by,
    if(by = 'scene', of_scene, of_store) AS of_place,
    sumIf(used.succeeded, day >= toDate(%(first)s)) AS calls,
    sumIf(used.succeeded, day < toDate(%(first)s)) AS calls_before,
    sumIf(used.uncovered, day >= toDate(%(first)s)) AS bare,
    sumIf(used.amount_micro_yuan, day >= toDate(%(first)s)) AS cost
FROM (SELECT *, toString(scene) AS of_scene, toString(store) AS of_store FROM usage_daily) AS used
WHERE appid = %(appid)s AND used.capability = %(of)s AND day >= toDate(%(before)s) AND day < toDate(%(end)s)
GROUP BY GROUPING SETS ((of_scene), (of_store))
HAVING calls != 0 OR calls_before != 0
ORDER BY by, calls DESC, of_place
LIMIT %(most)s BY by
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


def read_places(ask: Ask, question: PlacesQuestion, most: int) -> Mapping[Place, list[PlaceUse]]:
    """The scenes and the stores with the most calls, the busiest first: so many of each."""
    given = {
        "appid": question.appid,
        "of": question.capability,
        "before": question.before.isoformat(),
        "first": question.first.isoformat(),
        "end": question.end.isoformat(),
        "most": most,
    }
    found: dict[Place, list[PlaceUse]] = {"scene": [], "store": []}
    for by, *use in ask(_PLACES, given):
        found[by].append(PlaceUse(*use))
    return found
