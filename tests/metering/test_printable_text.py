"""Texts made printable stay on one line and do not control the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.printable_text import SHOWN_CHARACTERS_MAX, one_line, printable, shorten

texts = st.text(st.characters(codec=None), max_size=40)


@given(texts)
def test_one_line_is_one_and_has_nothing_that_can_not_be_seen(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert all(character.isprintable() or character.isspace() for character in shown)
    assert "\t" not in shown


@given(texts)
def test_line_ends_and_tabs_stay_where_text_may_have_lines(text: str) -> None:
    assert [line.count("\t") for line in printable(text).split("\n")] == [
        line.count("\t") for line in text.split("\n")
    ]
    assert printable(text).replace("\n", "").replace("\t", "") == one_line(
        text.replace("\n", "").replace("\t", "")
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("静安寺　门店 3", "静安寺　门店 3"),
        ("a\nb", "a\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u200bc", "a\\u202eb\\u200bc"),
        ("a\u2028b\x85c\rd", "a\\u2028b\\x85c\\rd"),
        ("\ud800", "\\ud800"),
        ("[/nope]", "[/nope]"),
    ],
)
def test_what_can_not_be_seen_is_written_out(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_what_is_too_long_for_an_event_is_cut() -> None:
    assert shorten("x" * SHOWN_CHARACTERS_MAX) == "x" * SHOWN_CHARACTERS_MAX
    assert shorten("x" * 1_000) == "x" * (SHOWN_CHARACTERS_MAX - 1) + "…"
