"""Amounts in text: exact, or refused in a sentence whatever was typed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonemeter.formats import parse_yuan, yuan


@pytest.mark.parametrize(
    ("text", "micro_yuan"),
    [
        ("7.5", 7_500_000),
        (" ¥1,500 ", 1_500_000_000),
        ("￥0.000001", 1),
        ("3E+2", 300_000_000),
        ("300.00000000000000000000", 300_000_000),
        ("0E-99999999", 0),
    ],
)
def test_an_amount_is_exact(text: str, micro_yuan: int) -> None:
    assert parse_yuan(text) == micro_yuan


@pytest.mark.parametrize(
    "text",
    [
        "",
        "viel",
        "NaN",
        "Infinity",
        "1E+12",
        "-1E+12",
        "1E+99999999",
        "1E-99999999",
        "0.0000001",
        "1.0000000000000000000000000000000000001",
        "7.5" + 100 * "0",
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no amount in yuan with at most six decimal places$"):
        parse_yuan(text)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_what_is_shown_can_be_read_again(micro_yuan: int) -> None:
    assert parse_yuan(yuan(micro_yuan)) == micro_yuan


@given(st.text(max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_yuan(text), int)
