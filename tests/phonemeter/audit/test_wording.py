"""An audit in words, as people read it."""

import pytest

from metering.ledger import Entry
from phonemeter.audit import wording
from phonemeter.audit.differences import Differences, compare_lines, describe_line
from phonemeter.audit.figures import Figures
from phonemeter.audit.report import CellDifference, PartitionReport, Report
from phonemeter.audit.stored import Repeated

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
WHERE = "app wx1, 2024-01-01, pack p7"
RIGHT = "120 lines, 120 events, 120 calls charged, ¥3.60"


@pytest.fixture
def report() -> Report:
    """A doubled line in ClickHouse, records in flight, and an event that came back too late."""
    differences: Differences[Entry] = Differences(0, describe_line)
    compare_lines([LINE], [LINE, LINE], differences)
    report = Report(partitions=[PartitionReport(0, 1_250, 1_234, 900, 0, records=1_234, not_stored=7)])
    place = report.places["ClickHouse"]
    place.items, place.kinds, place.differences = 1_300, dict(differences.kinds), differences.first
    right, found = Figures(120, 120, 120, 3_600_000), Figures(121, 121, 121, 3_630_000)
    place.cells = [CellDifference("ClickHouse", 0, "wx1", "2024-01-01", "p7", right, found)]
    report.repeated = [Repeated("wx1", "e9", 0, 5, 99, 2, 1_704_067_200_000, 1_704_326_400_000)]
    return report


def test_the_verdict_says_where_and_what(report: Report) -> None:
    assert wording.verdict(Report()) == "The ledger is what the rules say."
    assert wording.verdict(report) == (
        "The ledger is not what the rules say: ClickHouse 1 there twice or more."
    )


def test_differences_name_figures_and_lines(report: Report) -> None:
    assert list(wording.differences(report, 10)) == [
        "ClickHouse: 1 there twice or more, of 1,300 lines.",
        f"  {WHERE}: 121 lines, 121 events, 121 calls charged, ¥3.63; expected {RIGHT}.",
        f"  there twice or more: partition 0 offset 55 line 0, {WHERE}: charge of event e1.",
    ]


def test_more_differences_than_are_shown_are_counted(report: Report) -> None:
    report.places["ClickHouse"].differences *= 5
    assert list(wording.differences(report, 2))[-1] == "  and 3 more differences; --json lists them."


def test_what_is_in_flight_is_told_per_partition(report: Report) -> None:
    assert list(wording.in_flight(report)) == [
        "Partition 0: audited up to offset 1,234 of 1,250; the worker has 16 to go.",
        "Partition 0: ClickHouse audited up to offset 900; the sink has 7 lines to go.",
    ]


def test_an_event_that_came_back_too_late_is_named(report: Report) -> None:
    *_, one = wording.repeated(report, 10)
    assert one == "  app wx1, event e9: 2 times, at offsets 5 to 99 of partition 0, 2024-01-01 to 2024-01-04."


@pytest.mark.parametrize(
    ("micro_yuan", "shown"),
    [(0, "0.00"), (3_600_000, "3.60"), (-30_000, "-0.03"), (1_234_567_000_001, "1,234,567.000001")],
)
def test_money_is_shown_in_yuan_without_rounding(micro_yuan: int, shown: str) -> None:
    assert wording.yuan(micro_yuan) == shown
