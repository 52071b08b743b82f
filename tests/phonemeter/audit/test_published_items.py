"""Published items against the rules, however often and from where it is repeated."""

import pytest

from metering.ledger import Entry
from phonemeter.audit.differences import Differences, describe_line
from phonemeter.audit.figures import entry_id
from phonemeter.audit.published_items import PublishedItems


def line(offset: int, **changes: int | str) -> Entry:
    fields: dict[str, int | str] = {"calls": 1, "amount_micro_yuan": 30_000, "pack_id": "p", **changes}
    return Entry(offset, 0, "charge", 1_700_000_000_000, 1, "wx1", "quick", f"e{offset}", **fields)  # type: ignore[arg-type] # each test names fields of Entry


@pytest.fixture
def published() -> PublishedItems[Entry]:
    """The rules say lines 0 to 9; the window holds four."""
    published: PublishedItems[Entry] = PublishedItems(Differences(0, describe_line), window_items=4)
    for offset in range(10):
        published.expect((offset, 0), line(offset))
    return published


def see(published: PublishedItems[Entry], *entries: Entry) -> None:
    for entry in entries:
        published.observe(entry_id(entry), entry)


def kinds(published: PublishedItems[Entry]) -> dict[str, int]:
    published.finish()
    return dict(published.differences.kinds)


def test_what_the_rules_say_is_no_difference(published: PublishedItems[Entry]) -> None:
    see(published, *map(line, range(10)))
    assert kinds(published) == {}
    assert (published.items, published.repeated) == (10, 0)


def test_what_is_published_again_identically_is_no_difference(published: PublishedItems[Entry]) -> None:
    see(published, *map(line, range(8)), *map(line, range(3, 10)))
    assert kinds(published) == {}
    assert (published.items, published.repeated) == (10, 5)


def test_a_hole_that_a_repetition_fills_is_none(published: PublishedItems[Entry]) -> None:
    see(published, line(0), line(2), *map(line, range(10)))
    assert kinds(published) == {}


def test_a_line_that_was_never_published_is_missing(published: PublishedItems[Entry]) -> None:
    see(published, *map(line, range(5)), *map(line, range(6, 10)))
    assert kinds(published) == {"missing": 1}
    (one,) = published.differences.first
    assert (one.kind, one.offset, one.what) == ("missing", 5, "charge of event e5")


def test_a_line_that_came_again_with_other_content_is_contradicted(published: PublishedItems[Entry]) -> None:
    see(published, *map(line, range(10)), line(7, amount_micro_yuan=40_000))
    assert kinds(published) == {"contradicted": 1}
    (one,) = published.differences.first
    assert one.what == "charge of event e7: amount_micro_yuan is 40000 and should be 30000"
    assert published.differences.drift.micro_yuan == 0


def test_a_line_with_other_content_is_altered_and_drifts(published: PublishedItems[Entry]) -> None:
    see(published, *map(line, range(9)), line(9, amount_micro_yuan=40_000))
    assert kinds(published) == {"altered": 1}
    assert published.differences.drift.micro_yuan == 10_000
    assert published.differences.drift.calls == 0


def test_a_line_that_the_rules_do_not_know_is_foreign(published: PublishedItems[Entry]) -> None:
    see(published, *map(line, range(10)), line(55))
    assert kinds(published) == {"foreign": 1}


def test_what_left_the_window_is_compared_after_going_back(published: PublishedItems[Entry]) -> None:
    see(published, *map(line, range(10)))
    published.trim()
    assert not published.is_comparable((5, 0))
    assert published.is_comparable((6, 0))
    published.rewind()
    for offset in range(10):
        published.expect((offset, 0), line(offset))
    assert published.is_comparable((0, 0))
    see(published, line(0), line(1, calls=2))
    assert kinds(published) == {"contradicted": 1}
    assert published.repeated == 2
