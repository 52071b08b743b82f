"""Amounts in Chinese capitals."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.console.chinese_amount import FEN_MICRO_YUAN, YUAN_MAX, chinese_amount, fen_of
from metering import catalogue
from metering.money import MICRO_YUAN

FEN = st.integers(0, YUAN_MAX * 100 - 1)
DIGITS = "零壹贰叁肆伍陆柒捌玖"
SIZES = {"拾": 10, "佰": 100, "仟": 1_000}


def read_whole(text: str) -> int:
    """The number that capitals say, read from left to right."""
    total = section = digit = 0
    for one in text:
        if one == "亿":
            total, section, digit = (total + section + digit) * 10**8, 0, 0
        elif one == "万":
            total, section, digit = total + (section + digit) * 10**4, 0, 0
        elif one in SIZES:
            section, digit = section + digit * SIZES[one], 0
        else:
            digit = DIGITS.index(one)
    return total + section + digit


def read_amount(text: str) -> int:
    """The fen that an amount in capitals says."""
    found = re.fullmatch(rf"(?:(.+)元)?(?:([{DIGITS}])角|零)?(?:([{DIGITS}])分|整)", text)
    assert found is not None, text
    yuan, jiao, fen = (one or "零" for one in found.groups())
    return read_whole(yuan) * 100 + DIGITS.index(jiao) * 10 + DIGITS.index(fen)


@pytest.mark.parametrize(
    ("yuan", "fen", "capitals"),
    [
        (0, 0, "零元整"),
        (0, 5, "伍分"),
        (0, 50, "伍角整"),
        (7, 50, "柒元伍角整"),
        (10, 0, "壹拾元整"),
        (325, 4, "叁佰贰拾伍元零肆分"),
        (1_409, 50, "壹仟肆佰零玖元伍角整"),
        (1_680, 32, "壹仟陆佰捌拾元叁角贰分"),
        (6_007, 14, "陆仟零柒元壹角肆分"),
        (16_409, 2, "壹万陆仟肆佰零玖元零贰分"),
        (28_000, 0, "贰万捌仟元整"),
        (100_000, 0, "壹拾万元整"),
        (107_000, 53, "壹拾万柒仟元伍角叁分"),
        (270_000, 0, "贰拾柒万元整"),
        (1_000_010, 0, "壹佰万零壹拾元整"),
        (100_010_000, 0, "壹亿零壹万元整"),
        (999_999_999_999, 99, "玖仟玖佰玖拾玖亿玖仟玖佰玖拾玖万玖仟玖佰玖拾玖元玖角玖分"),
    ],
)
def test_amounts_are_written_as_the_peoples_bank_shows_them(yuan: int, fen: int, capitals: str) -> None:
    assert chinese_amount(yuan * MICRO_YUAN + fen * FEN_MICRO_YUAN) == capitals
    assert read_amount(capitals) == yuan * 100 + fen


@given(FEN)
def test_each_amount_reads_back_as_itself_and_has_no_zeros_side_by_side(fen: int) -> None:
    capitals = chinese_amount(fen * FEN_MICRO_YUAN)
    assert read_amount(capitals) == fen
    assert "零零" not in capitals
    assert capitals.endswith(("整", "分"))
    assert not re.search("零[拾佰仟万亿角分]", capitals)


@given(FEN, FEN)
def test_different_amounts_have_different_capitals(one: int, other: int) -> None:
    same = chinese_amount(one * FEN_MICRO_YUAN) == chinese_amount(other * FEN_MICRO_YUAN)
    assert same == (one == other)


@given(st.integers(-(10**20), 10**20))
def test_nothing_is_rounded(micro_yuan: int) -> None:
    whole = micro_yuan >= 0 and micro_yuan % FEN_MICRO_YUAN == 0
    if whole:
        assert fen_of(micro_yuan) * FEN_MICRO_YUAN == micro_yuan
    else:
        with pytest.raises(ValueError, match="whole fen"):
            chinese_amount(micro_yuan)


def test_an_amount_that_no_order_has_is_refused() -> None:
    with pytest.raises(ValueError, match="below 1,000,000,000,000 yuan"):
        chinese_amount(YUAN_MAX * MICRO_YUAN)


def test_each_price_on_sale_can_be_invoiced() -> None:
    for offer in catalogue.DEFAULT:
        assert read_amount(chinese_amount(offer.price_micro_yuan)) == fen_of(offer.price_micro_yuan)
