"""ETags: whether an answer would be the same as one that was given before.

A tag is made of what an answer rests on: the sums of its app's entries, which are never changed and never
deleted, the question, and until when the clock leaves it as it is. So most of what is asked again costs one
small query. The tags are weak: the time of the answer is none of its content.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from dashboards.reads.asking import Ask
from metering.times import to_ms

TAG_BYTES: Final = 12
_TAG: Final = re.compile(r'(?:W/)?"([^"]*)"')

_STANDING: Final = """
SELECT now, runs_on, lines, calls_moved, money, newest
FROM clock
CROSS JOIN
(
    SELECT
        count() AS lines, sum(calls) AS calls_moved, sum(amount_micro_yuan) AS money,
        toUnixTimestamp64Milli(max(time)) AS newest
    FROM ledger WHERE appid = %(appid)s
) AS own
"""


class Standing(NamedTuple):
    """The base of an app's answers: its entries in the ledger, and the clock.

    Attributes:
        lines: the number of its entries; 0 of an unknown app.
        sums: of calls and money, and the time of the newest: others after the ledger was rebuilt.
    """

    now_ms: int
    runs_on: str
    lines: int
    sums: tuple[int, int, int]


def read_standing(ask: Ask, appid: str) -> Standing:
    """The standing of an app. Its sums are those of a projection: a row per pack and kind of entry."""
    ((now, runs_on, lines, *sums),) = ask(_STANDING, {"appid": appid})
    return Standing(to_ms(now), runs_on, lines, (sums[0], sums[1], sums[2]))


def tag_of(*content: object) -> str:
    """The tag of what an answer rests on."""
    return hashlib.blake2b(msgspec.json.encode(content), digest_size=TAG_BYTES).hexdigest()


def written(tag: str, changes_ms: int | None = None) -> str:
    """A tag as the header has it, with the moment at which the clock alone changes the answer."""
    return f'W/"{tag}"' if changes_ms is None else f'W/"{tag}-{changes_ms}"'


def is_known(tag: str, given: Iterable[str], now_ms: int) -> bool:
    """Return whether one of the tags that a client has is this one, and holds still."""
    for one in given:
        known, _, changes = one.partition("-")
        if known == tag and (not changes or (changes.isdecimal() and now_ms < int(changes[:20]))):
            return True
    return False


def given_tags(header: str) -> list[str]:
    """The tags in a header `If-None-Match`."""
    found: list[Any] = _TAG.findall(header)
    return found
