from datetime import date, timedelta

from phonemeter.demo.curve import HEIGHT, draw
from phonemeter.demo.totals import DayTotals

FIRST = date(2026, 10, 1)


def days(*calls: int) -> list[DayTotals]:
    return [DayTotals(FIRST + timedelta(days=n), 0, count, 0, 0) for n, count in enumerate(calls)]


def test_the_busiest_day_reaches_the_top() -> None:
    lines = draw(days(10, 1_250, 300), 80).plain.splitlines()
    assert lines[0] == "Calls by day, 2026-10-01 to 2026-10-03 (Asia/Shanghai)"
    assert lines[1].strip() == "▓ from packs: 1,560"
    top = next(line for line in lines if line.startswith("1,250┤"))
    assert top.count("▓") < max(line.count("▓") for line in lines)


def test_what_covered_the_calls_is_told_apart_without_colour() -> None:
    drawn = draw([DayTotals(FIRST, 100, 100, 100, 100)], 80).plain
    assert "× uncovered: 100   ▓ from packs: 100   ░ from the trial: 100   · free or exempt: 100" in drawn
    plot = drawn.splitlines()[2:]
    assert [any(marker in line for line in plot) for marker in "×▓░·"] == [True] * 4


def test_layers_without_calls_are_not_drawn() -> None:
    assert "×" not in draw(days(5, 6), 80).plain


def test_a_day_without_calls_has_its_place() -> None:
    drawn = draw([DayTotals(FIRST, 5, 0, 0, 0), DayTotals(FIRST + timedelta(days=2), 5, 0, 0, 0)], 80).plain
    assert "10-02" in drawn.splitlines()[-1]


def test_no_line_is_wider_than_asked_for() -> None:
    drawn = draw(days(*range(1, 400)), 70).plain
    assert max(map(len, drawn.splitlines()[2:])) <= 70
    assert len(drawn.splitlines()) == HEIGHT + 2


def test_if_not_all_days_fit_the_newest_are_shown() -> None:
    title = draw(days(*range(1, 400)), 70).plain.splitlines()[0]
    assert title == "Calls by day, 2027-09-05 to 2027-11-03 (Asia/Shanghai)"


def test_no_call_is_told() -> None:
    assert draw([], 80).plain == "No call was made."
