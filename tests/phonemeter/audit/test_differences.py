"""Lines in ClickHouse against the rules: each kind of difference is told, and added up where it belongs."""

from metering.ledger import Entry
from phonemeter.audit.differences import Differences, compare_lines, describe_line
from phonemeter.audit.figures import FigureCell, LedgerFigures, RangeFingerprint, figures_of

MORNING_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z, which is the first of January in Shanghai as well."""

DAY = 19_723


def line(offset: int, **changes: int | str) -> Entry:
    fields: dict[str, int | str] = {"calls": 1, "amount_micro_yuan": 30_000, "pack_id": "p", **changes}
    return Entry(offset, 0, "charge", MORNING_MS, 1, "wx1", "quick", f"e{offset}", **fields)  # type: ignore[arg-type] # each test names fields of Entry


RIGHT = [line(offset) for offset in range(4)]


def differences(found: list[Entry]) -> Differences[Entry]:
    differences: Differences[Entry] = Differences(3, describe_line)
    compare_lines(RIGHT, found, differences)
    return differences


def test_the_same_lines_in_any_order_are_no_difference() -> None:
    assert differences(RIGHT[::-1]).kinds == {}


def test_a_missing_line_is_named_and_lacks_in_its_cell() -> None:
    found = differences([RIGHT[0], RIGHT[2], RIGHT[3]])
    (one,) = found.first
    assert (one.kind, one.partition, one.offset, one.line) == ("missing", 3, 1, 0)
    assert (one.appid, one.date, one.pack_id) == ("wx1", "2024-01-01", "p")
    assert found.cells == {FigureCell("wx1", DAY, "p"): LedgerFigures(-1, -1, -1, -30_000)}
    assert found.drift == LedgerFigures(1, 1, 1, 30_000)


def test_a_doubled_line_is_named_once_per_copy() -> None:
    found = differences([*RIGHT, RIGHT[1], RIGHT[1]])
    assert found.kinds == {"doubled": 2}
    assert found.cells == {FigureCell("wx1", DAY, "p"): LedgerFigures(2, 2, 2, 60_000)}


def test_the_altered_one_of_two_copies_is_the_copy() -> None:
    found = differences([line(1, amount_micro_yuan=1), *RIGHT])
    assert found.kinds == {"doubled": 1}


def test_an_altered_line_says_what_changed_and_moves_between_cells() -> None:
    found = differences([*RIGHT[:3], line(3, pack_id="q")])
    (one,) = found.first
    assert one.what == "charge of event e3: pack_id is 'q' and should be 'p'"
    assert found.cells == {
        FigureCell("wx1", DAY, "p"): LedgerFigures(-1, -1, -1, -30_000),
        FigureCell("wx1", DAY, "q"): LedgerFigures(1, 1, 1, 30_000),
    }
    assert found.drift == LedgerFigures(2, 1, 2, 60_000)


def test_a_foreign_line_is_told_and_added_up() -> None:
    found = differences([*RIGHT, line(9, amount_micro_yuan=5)])
    assert found.kinds == {"foreign": 1}
    assert found.drift.micro_yuan == 5


def test_opposite_errors_do_not_cancel_in_the_drift() -> None:
    found = differences([*RIGHT[:3], line(8)])
    assert found.kinds == {"missing": 1, "foreign": 1}
    assert found.drift == LedgerFigures(2, 2, 2, 60_000)


def test_a_takeover_is_no_further_event() -> None:
    assert figures_of(line(1, reason="taken_over")).events == 0
    assert figures_of(line(1)).events == 1


def test_a_fingerprint_knows_every_field_and_how_often_a_line_is_there() -> None:
    whole = RangeFingerprint().plus(RIGHT[0]).plus(RIGHT[1])
    assert whole == RangeFingerprint().plus(RIGHT[1]).plus(RIGHT[0])
    assert whole != whole.plus(RIGHT[0])
    assert whole != RangeFingerprint().plus(RIGHT[0]).plus(line(1, client="x"))
