"""Invoice titles: what is taken, and what is said to be wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.console import invoice_titles as titles
from dashboards.console.invoice_titles import TitleText, check_character, tax_number_problem, title_text

COMPANY = "深圳市腾讯计算机系统有限公司"
CODE = "9144030071526726XG"
ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


@pytest.mark.parametrize(
    "code",
    [CODE, "91110000600037341L", "91440300708461136T", "914403001922038216", "91330100799655058B"],
)
def test_codes_of_companies_and_authorities_are_taken(code: str) -> None:
    assert tax_number_problem(code) == ""
    assert title_text("company", COMPANY, code) == TitleText("company", COMPANY, code)


def test_a_code_may_begin_with_letters_as_those_of_rural_collectives_do() -> None:
    first = "N2310115MF1234567"
    assert tax_number_problem(first + check_character(first)) == ""


@given(
    st.text("0123456789", min_size=6, max_size=6),
    st.text(ALPHABET, min_size=9, max_size=9),
    st.integers(0, 16),
    st.sampled_from(ALPHABET),
)
def test_one_wrong_character_is_always_found(region: str, rest: str, place: int, other: str) -> None:
    first = f"91{region}{rest}"
    code = first + check_character(first)
    assert tax_number_problem(code) == ""
    changed = code[:place] + other + code[place + 1 :]
    assert (tax_number_problem(changed) == "") == (changed == code)


@given(st.text(ALPHABET, min_size=9, max_size=9), st.integers(8, 15))
def test_two_neighbours_that_change_places_are_always_found(rest: str, place: int) -> None:
    first = f"91440300{rest}"
    code = first + check_character(first)
    changed = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    assert (tax_number_problem(changed) == "") == (changed == code)


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("440300715267266", ""),
        ("44030071526726X", ""),
        ("4403007I526726*", titles.OLD_NUMBER_CHARACTERS),
        ("X40300715267266", titles.OLD_NUMBER_CHARACTERS),
        ("9144030071526726X", titles.NUMBER_LENGTH),
        ("9144030071526726XGG", titles.NUMBER_LENGTH),
        ("9144030071526726XO", titles.NUMBER_CHARACTERS),
        ("914403I071526726XG", titles.NUMBER_CHARACTERS),
        ("9144030071526726XH", titles.CHECK_CHARACTER),
        ("9144030071526726Xg", titles.NUMBER_CHARACTERS),
    ],
)
def test_a_wrong_number_is_told_what_is_wrong(number: str, problem: str) -> None:
    assert tax_number_problem(number) == problem


@pytest.mark.parametrize(
    ("kind", "name", "number", "problem"),
    [
        ("", COMPANY, CODE, titles.NO_KIND),
        ("state", COMPANY, CODE, titles.NO_KIND),
        ("company", COMPANY, "", titles.NO_NUMBER),
        ("company", COMPANY, "123", titles.NUMBER_LENGTH),
        ("personal", "张三", CODE, titles.NUMBER_OF_PERSON),
        ("personal", "张", "", titles.WRONG_LENGTH),
        ("personal", "张" * 101, "", titles.WRONG_LENGTH),
        ("personal", "123456", "", titles.WRONG_CHARACTERS),
        ("personal", "张三\u202e", "", titles.WRONG_CHARACTERS),
        ("personal", "张三<b>", "", titles.WRONG_CHARACTERS),
        ("personal", "张三 13800138000", "", titles.PHONE_NUMBER),
    ],
)
def test_a_wrong_title_is_told_what_is_wrong(kind: str, name: str, number: str, problem: str) -> None:
    assert title_text(kind, name, number) == problem


def test_a_title_is_taken_as_people_type_it() -> None:
    typed = title_text("company", f"  {COMPANY} \n", " 9144 0300 7152 6726 xg ")
    assert typed == TitleText("company", COMPANY, CODE)
    assert title_text("personal", "阿依古丽·艾合买提", "") == TitleText("personal", "阿依古丽·艾合买提")
    wide = "北京䶮科技（集团）有限公司 R&D"
    assert title_text("company", wide, CODE) == TitleText("company", wide, CODE)
