"""Revisions of an app's figures: what settlements, late packs and corrections changed, when and why."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from dashboards.reads.asking import Ask
from metering.times import to_ms

# A revision is one record: its lines add up to what it moved, by quota.
_MOVED: Final = """
SELECT
    source_offset, if(reason = 'settled', 'settlement', 'takeover'), toString(kind), toString(pack_id),
    sum(calls)
FROM ledger
WHERE appid = %(appid)s AND capability = %(of)s AND reason IN ('settled', 'taken_over')
GROUP BY source_offset, reason, kind, pack_id
HAVING sum(calls) != 0
ORDER BY source_offset DESC
LIMIT %(most)s
"""

_MARKS: Final = """
SELECT
    source_offset, toString(kind), toString(reason), toUnixTimestamp64Milli(recorded_at),
    toUnixTimestamp64Milli(time)
FROM ledger
WHERE appid = %(appid)s AND kind IN ('unsettled', 'settlement')
ORDER BY source_offset, line
LIMIT %(most)s
"""

_ARRIVED: Final = """
SELECT source_offset, toUnixTimestamp64Milli(max(recorded_at))
FROM ledger
WHERE appid = %(appid)s AND source_offset IN %(offsets)s
GROUP BY source_offset
"""

_CORRECTIONS: Final = """
SELECT recorded_at, fact_kind, toString(action), fields, note, toString(source), toString(state), holds
FROM corrections
WHERE appid = %(appid)s
ORDER BY recorded_at DESC
LIMIT %(most)s
"""

LINES_MAX: Final = 10_000


class QuotaMove(NamedTuple):
    """The calls that a quota gained, or lost where they are negative.

    Attributes:
        kind: of the ledger's lines: a charge, trial_charge, uncovered, exempt, ...
        pack_id: the pack; empty if it is none.
    """

    kind: str
    pack_id: str
    calls: int


class Revision(NamedTuple):
    """A change of figures that had been told before.

    Attributes:
        at_ms: when it arrived.
        kind: a settlement, or a takeover of uncovered calls by a pack that was recorded late.
        reasons: of a settlement, why the app was unsettled.
        from_ms: of a settlement, the time from which on figures could change; None if that is not known.
        moves: by quota, those that gained most first.
    """

    at_ms: int
    kind: Literal["settlement", "takeover"]
    reasons: tuple[str, ...]
    from_ms: int | None
    moves: tuple[QuotaMove, ...]

    @property
    def calls(self) -> int:
        """The number of calls that were moved."""
        return sum(move.calls for move in self.moves if move.calls > 0)


class CorrectionNote(NamedTuple):
    """A correction of a fact: by whom, of what, to what, and whether the figures have it."""

    at_ms: int
    fact_kind: str
    action: str
    fields: str
    note: str
    source: str
    state: str
    holds: bool


def read_revisions(ask: Ask, appid: str, capability: str, most: int) -> list[Revision]:
    """The newest revisions of one capability of an app, the newest first."""
    moved: dict[tuple[int, Any], list[QuotaMove]] = {}
    for offset, kind, *move in ask(_MOVED, {"appid": appid, "of": capability, "most": LINES_MAX}):
        moved.setdefault((offset, kind), []).append(QuotaMove(*move))
    newest = list(moved.items())[:most]
    if not newest:
        return []
    offsets = tuple({offset for (offset, _), _ in newest})
    arrived: dict[int, int] = dict(ask(_ARRIVED, {"appid": appid, "offsets": offsets}))
    why = _why(ask(_MARKS, {"appid": appid, "most": LINES_MAX}))
    return [
        Revision(
            arrived[offset],
            kind,
            *(why.get(offset, ((), None)) if kind == "settlement" else ((), None)),
            tuple(sorted(moves, key=lambda one: (-one.calls, one.kind, one.pack_id))),
        )
        for (offset, kind), moves in newest
    ]


def read_corrections(ask: Ask, appid: str, most: int) -> list[CorrectionNote]:
    """The newest corrections of an app's facts, the newest first."""
    found = ask(_CORRECTIONS, {"appid": appid, "most": most})
    return [CorrectionNote(*row)._replace(at_ms=to_ms(row[0]), holds=bool(row[7])) for row in found]


def _why(marks: Sequence[tuple[Any, ...]]) -> dict[int, tuple[tuple[str, ...], int | None]]:
    """The reasons of each settlement, by its offset: those of late facts since the app was settled last."""
    reasons: list[str] = []
    from_ms: int | None = None
    ended_at = {offset for offset, kind, *_ in marks if kind == "settlement"} - {
        offset for offset, kind, reason, *_ in marks if kind == "unsettled" and reason == "settlement"
    }
    found: dict[int, tuple[tuple[str, ...], int | None]] = {}
    for offset, kind, reason, _, time_ms in marks:
        if kind == "unsettled" and reason not in {"settlement", "too_old"}:
            reasons += [reason] if reason not in reasons else []
            from_ms = time_ms if from_ms is None else min(from_ms, time_ms)
        elif kind == "settlement":
            found[offset] = tuple(reasons), from_ms
            if offset in ended_at:
                reasons, from_ms = [], None
    return found
