"""Tags, cursors and freshness as such."""

import pytest

from dashboards.http.cursors import read_cursor, write_cursor
from dashboards.http.errors import WrongParameterError
from dashboards.http.freshness import Completeness, LogProgress
from dashboards.http.tags import given_tags, is_known, tag_of, written


def test_a_tag_holds_until_the_clock_changes_what_it_is_of() -> None:
    tag = tag_of("balance", 1)
    (given,) = given_tags(written(tag, 1_000))
    assert is_known(tag, [given], 999)
    assert not is_known(tag, [given], 1_000)
    assert is_known(tag, given_tags(f'"x", {written(tag)}'), 1_000)


@pytest.mark.parametrize("header", ["", "*", "W/", '"', '""', 'W/"x-1"', f'"{"9" * 5_000}"', '"{tag}-x"'])
def test_what_is_no_tag_of_ours_is_not_known(header: str) -> None:
    tag = tag_of("balance", 1)
    assert not is_known(tag, given_tags(header.replace("{tag}", tag)), 0)


def test_tags_of_different_content_differ() -> None:
    assert len({tag_of("a", 1), tag_of("a", 2), tag_of("b", 1), tag_of("a", "1")}) == 4


def test_a_cursor_is_read_by_the_list_that_wrote_it_only() -> None:
    scope = ("packs", "wx1", "status=active")
    text = write_cursor(scope, ("quick", 1, "包"))
    assert read_cursor(scope, text, tuple[str, int, str]) == ("quick", 1, "包")
    assert text.isascii()
    for other in (("packs", "wx2", ""), ("alerts", "wx1", "status=active")):
        with pytest.raises(WrongParameterError):
            read_cursor(other, text, tuple[str, int, str])
    with pytest.raises(WrongParameterError):
        read_cursor(scope, text, tuple[int, str])


def look(at_ms: int, ends: int, metered: int, ledger: int, stored: int) -> LogProgress:
    return LogProgress(at_ms, {0: ends, 1: 0}, {0: metered}, {0: ledger, 1: 0}, {0: stored})


def test_figures_are_complete_up_to_what_was_seen_to_arrive_and_is_metered_and_stored() -> None:
    known = Completeness()
    known.add(look(1, 10, 5, 3, 3))
    assert known.until_ms is None
    # What had arrived at 1 is metered by 2, and its entries are not stored yet.
    known.add(look(2, 20, 12, 8, 3))
    assert known.until_ms is None
    known.add(look(3, 30, 19, 15, 7))
    assert known.until_ms is None
    known.add(look(4, 40, 25, 20, 8))
    assert known.until_ms == 1
    known.add(look(5, 40, 40, 33, 33))
    assert known.until_ms == 5
    # A look at which nothing moves takes nothing back.
    known.add(look(6, 50, 40, 33, 33))
    assert known.until_ms == 5


def test_an_empty_log_is_complete() -> None:
    known = Completeness()
    known.add(LogProgress(7, {}, {}, {}, {}))
    assert known.until_ms == 7
