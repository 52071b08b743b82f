"""An audit in words, as people read it."""

import pytest

from metering.ledger import Entry
from phonemeter.audit import sentences
from phonemeter.audit.differences import Differences, compare_lines, describe_line
from phonemeter.audit.figures import LedgerFigures
from phonemeter.audit.report import AuditReport, CellDifference, LateFact, PartitionReport
from phonemeter.audit.shared_packs import SharedPack
from phonemeter.audit.stored_ledger import RepeatedEvent
from phonemeter.formats import yuan

LINE = Entry(
    55,
    0,
    "charge",
    1_704_067_200_000,
    1,
    "wx1",
    "quick",
    "e1",
    calls=1,
    amount_micro_yuan=30_000,
    pack_id="p7",
)
WHERE = "app wx1, 2024-01-01 (Shanghai), pack p7"
RIGHT = "120 entries, 120 events, 120 calls charged, ¥3.60"


@pytest.fixture
def report() -> AuditReport:
    """A doubled line in ClickHouse, records in flight, and an event that came back too late."""
    differences: Differences[Entry] = Differences(0, describe_line)
    compare_lines([LINE], [LINE, LINE], differences)
    report = AuditReport(partitions=[PartitionReport(0, 1_250, 1_234, 900, 0, records=1_234, not_stored=7)])
    place = report.places["ClickHouse"]
    place.items, place.kinds, place.differences = 1_300, dict(differences.kinds), differences.first
    right, found = LedgerFigures(120, 120, 120, 3_600_000), LedgerFigures(121, 121, 121, 3_630_000)
    place.cells = [CellDifference("ClickHouse", 0, "wx1", "2024-01-01", "p7", right, found)]
    report.repeated = [RepeatedEvent("wx1", "e9", 0, 5, 99, 2, 1_704_067_200_000, 1_704_326_400_000)]
    return report


def test_the_verdict_says_where_and_what(report: AuditReport) -> None:
    assert sentences.verdict(AuditReport()) == "The ledger is what the rules say."
    assert sentences.verdict(report) == (
        "The ledger is not what the rules say: ClickHouse 1 there twice or more."
    )


def test_differences_name_figures_and_lines(report: AuditReport) -> None:
    assert list(sentences.differences(report, 10)) == [
        "ClickHouse: 1 there twice or more, of 1,300 entries.",
        f"  {WHERE}: 121 entries, 121 events, 121 calls charged, ¥3.63; expected {RIGHT}.",
        f"  there twice or more: partition 0 offset 55 line 0, {WHERE}: charge of event e1.",
    ]


def test_more_differences_than_are_shown_are_counted(report: AuditReport) -> None:
    report.places["ClickHouse"].differences *= 5
    assert list(sentences.differences(report, 2))[-1] == "  and 3 more differences; --json lists them."


def test_what_is_in_flight_is_told_per_partition(report: AuditReport) -> None:
    assert list(sentences.in_flight(report)) == [
        "Partition 0: audited up to offset 1,234 of 1,250; 16 not metered yet.",
        "Partition 0: ClickHouse audited up to offset 900; entries not stored yet: 7.",
    ]


def test_an_event_that_came_back_too_late_is_named(report: AuditReport) -> None:
    *_, one = sentences.repeated(report, 10)
    when = "2024-01-01 to 2024-01-04 (Shanghai)"
    assert one == f"  app wx1, event e9: 2 times, at offsets 5 to 99 of partition 0, {when}."


def test_a_pack_that_two_apps_had_at_once_is_named(report: AuditReport) -> None:
    report.shared_packs = [SharedPack("p7", ("wx1", "wx2"), 1_704_067_200_000, 1_704_326_400_000)] * 2
    first, one, more = sentences.shared_packs(report, 1)
    assert first.startswith("2 packs were in two apps at once")
    when = "2024-01-01 08:00:00 (Shanghai) to 2024-01-04 08:00:00 (Shanghai)"
    assert one == f"  pack p7: in wx1 and in wx2, {when}."
    assert more == "  and 1 more such packs; --json lists them."


def test_facts_beyond_the_settlement_horizon_are_named(report: AuditReport) -> None:
    report.beyond_horizon = 3
    report.late_facts = [LateFact("wx1", "e1", 0, 1_234, 1_704_067_200_000)] * 3
    first, one, more = sentences.beyond_horizon(report, 1)
    assert first.startswith("3 facts came later than the settlement horizon allows (settle_horizon_d)")
    assert one == "  app wx1, event e1: of 2024-01-01 (Shanghai), at offset 1,234 of partition 0."
    assert more == "  and 2 more such facts; --json lists them."


@pytest.mark.parametrize(
    ("micro_yuan", "shown"),
    [(0, "0.00"), (3_600_000, "3.60"), (-30_000, "-0.03"), (1_234_567_000_001, "1,234,567.000001")],
)
def test_money_is_shown_in_yuan_without_rounding(micro_yuan: int, shown: str) -> None:
    assert yuan(micro_yuan) == shown
