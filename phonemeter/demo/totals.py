"""Totals of the ledger in ClickHouse, compared with the rules alone over the same events."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from metering.events import CAPABILITIES
from metering.ledger import CALL_KINDS
from metering.rating import COUNTERS, CapabilityReport, PackReport, Rating, TrialReport
from phonemeter.clickhouse import ledger_client
from sinks.connection import rows

BY_KIND: Final = """
    SELECT appid, capability, toString(kind), sum(calls), count(), sum(amount_micro_yuan)
    FROM ledger GROUP BY appid, capability, kind
"""
BY_PACK: Final = """
    SELECT appid, pack_id,
        sumIf(calls, kind = 'purchase'), sumIf(calls, kind = 'charge'), sumIf(calls, kind = 'lapse'),
        sumIf(calls, kind = 'refund'), sumIf(amount_micro_yuan, kind = 'charge')
    FROM ledger WHERE pack_id != '' GROUP BY appid, pack_id
"""
BY_DAY: Final = """
    SELECT toDate(time, 'Asia/Shanghai') AS day,
        sumIf(calls, kind = 'trial_charge'), sumIf(calls, kind = 'charge'), sumIf(calls, kind = 'uncovered'),
        sumIf(calls, kind IN ('free', 'exempt'))
    FROM ledger WHERE kind IN ('trial_charge', 'charge', 'uncovered', 'free', 'exempt')
    GROUP BY day ORDER BY day
"""
OUTCOMES: Final = "SELECT uniqExact(source_partition, source_offset) FROM ledger"

FIGURES: Final = (*COUNTERS.values(), "amount_micro_yuan")


@dataclass(slots=True)
class PackTotals:
    """Totals of one pack in the ledger."""

    calls: int
    remaining: int
    lapsed: int
    amount_micro_yuan: int


@dataclass(frozen=True, slots=True)
class DayTotals:
    """Calls of one Shanghai day, by what covered them."""

    date: date
    trial_charged: int
    charged: int
    uncovered: int
    not_charged: int


@dataclass(frozen=True, slots=True)
class StoredTotals:
    """Totals of the ledger in ClickHouse.

    Attributes:
        outcomes: records of the log that have an outcome.
        uses: figures by appid and capability, named as in `CapabilityReport`.
        packs: by appid and pack id.
        days: the calls of each day that had any.
    """

    outcomes: int = 0
    uses: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    packs: dict[tuple[str, str], PackTotals] = field(default_factory=dict)
    days: list[DayTotals] = field(default_factory=list)


def read_stored(clickhouse: str) -> StoredTotals:
    """Read the totals.

    Raises:
        OperationError: it does not answer.
    """
    with ledger_client(clickhouse) as client:
        return StoredTotals(
            outcomes=rows(client, OUTCOMES)[0][0],
            uses=_uses(rows(client, BY_KIND)),
            packs={
                (appid, pack_id): PackTotals(
                    bought - refunded, bought - used - lapsed - refunded, lapsed, amount
                )
                for appid, pack_id, bought, used, lapsed, refunded, amount in rows(client, BY_PACK)
                if bought
            },
            days=[DayTotals(*row) for row in rows(client, BY_DAY)],
        )


def differences(stored: StoredTotals, rated: Rating) -> list[str]:
    """A sentence per figure in which the ledger differs from the rules alone."""
    return [*_use_differences(stored, rated), *_pack_differences(stored, rated)]


def uses_of(rated: Rating) -> Iterator[tuple[str, str, CapabilityReport]]:
    """Every app and capability of a rating."""
    for appid, account in rated.apps.items():
        for capability in CAPABILITIES:
            use = account[capability]
            if isinstance(use, CapabilityReport):
                yield appid, capability, use


def trial_of(rated: Rating, appid: str) -> TrialReport:
    """The trial quota of an app."""
    trial = rated.apps[appid]["trial"]
    return trial if isinstance(trial, TrialReport) else TrialReport(0, 0)


def _uses(found: list[tuple[str, str, str, int, int, int]]) -> dict[tuple[str, str], dict[str, int]]:
    uses: dict[tuple[str, str], dict[str, int]] = {}
    for appid, capability, kind, calls, lines, amount in found:
        counter = COUNTERS.get(kind)
        if counter is None:
            continue
        use = uses.setdefault((appid, capability), dict.fromkeys(FIGURES, 0))
        use[counter] += calls if kind in CALL_KINDS or kind == "corrected" else lines
        if kind == "charge":
            use["amount_micro_yuan"] += amount
    return uses


def _use_differences(stored: StoredTotals, rated: Rating) -> Iterator[str]:
    nothing = dict.fromkeys(FIGURES, 0)
    expected = {(appid, capability): use for appid, capability, use in uses_of(rated)}
    for place in sorted(expected.keys() | {place for place in stored.uses if place[1]}):
        found = stored.uses.get(place, nothing)
        for figure in FIGURES:
            right = getattr(expected.get(place, CapabilityReport()), figure)
            if found[figure] != right:
                told = f"{figure} is {found[figure]:,} in ClickHouse and {right:,} by the rules"
                yield f"{place[0]} {place[1]}: {told}."


def _pack_differences(stored: StoredTotals, rated: Rating) -> Iterator[str]:
    expected = {
        (appid, pack.pack_id): _granted(pack) for appid, _, use in uses_of(rated) for pack in use.packs
    }
    nothing = PackTotals(0, 0, 0, 0)
    for place in sorted(expected.keys() | stored.packs.keys()):
        found, right = stored.packs.get(place, nothing), expected.get(place, nothing)
        if found != right:
            yield f"{place[0]} pack {place[1]}: {found} in ClickHouse and {right} by the rules."


def _granted(pack: PackReport) -> PackTotals:
    """The totals that the rules expect; a refunded pack grants nothing."""
    calls = 0 if pack.status == "refunded" else pack.calls
    return PackTotals(calls, pack.remaining, pack.lapsed, pack.amount_micro_yuan)
