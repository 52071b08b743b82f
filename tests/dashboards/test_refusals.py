"""Refusals are counted from the lines where no settlement moved a call, otherwise as the view says."""

from datetime import date

from dashboards.reads.refusals import RefusalCount, read_refusals
from metering.ledger import Entry
from sinks.connection import connect
from tests.dashboards.conftest import Ledger
from tests.sinks.parts import START_MS


def uncovered(offset: int, calls: int, reason: str, event_id: str) -> Entry:
    return Entry(
        offset,
        0,
        "uncovered",
        START_MS,
        START_MS,
        "wx1",
        "quick",
        calls=calls,
        reason=reason,
        event_id=event_id,
    )


def counted(ledger: Ledger) -> list[RefusalCount]:
    with connect(ledger.engine.url) as client:
        first = date(1970, 1, 1)
        return read_refusals(
            lambda query, given=None: client.execute(query, given), "wx1", "quick", first, date(2100, 1, 1)
        )


def test_calls_are_counted_by_reason_and_not_those_that_a_pack_took_over_or_a_settlement_moved(
    kept: Ledger,
) -> None:
    lines = [
        uncovered(1, 1, "no_pack", "a"),
        uncovered(2, 1, "exhausted", "b"),
        uncovered(3, 1, "exhausted", "c"),
        uncovered(4, 1, "no_pack", "d"),
        uncovered(5, -1, "taken_over", "d"),
    ]
    kept.replace(lines)
    assert counted(kept) == [
        RefusalCount("uncovered", "exhausted", 0, 2),
        RefusalCount("uncovered", "no_pack", 0, 1),
    ]
    kept.replace([*lines, uncovered(6, -2, "settled", "")])
    assert sum(one.times for one in counted(kept)) == 1
