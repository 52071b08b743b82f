"""Phone numbers and openids are found anywhere in a text, and nothing else is taken for one."""

import base64
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.personal_identifiers import (
    are_hashes,
    find_identifier,
    identifier_problem,
    mask_digits,
    mask_identifiers,
    texts_with_identifiers,
)

NUMBER = "13800138000"
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"

WRITTEN = [
    NUMBER,
    "138 0013 8000",
    "138-0013-8000",
    "138/0013/8000",
    "138_0013_8000",
    "138·0013·8000",
    "138–0013–8000",
    "138,0013,8000",
    "1 3 8 0 0 1 3 8 0 0 0",
    "1380013800\u200b0",
    "138\u200b0013\u200b8000",
    "1️⃣3️⃣8️⃣0️⃣0️⃣1️⃣3️⃣8️⃣0️⃣0️⃣0️⃣",
    "+8613800138000",
    "+86 138 0013 8000",
    "008613800138000",
    "(86)13800138000",
    "013800138000",
    "tel:+86-138-0013-8000",
    "１３８００１３８０００",
    "＋８６（１３８）００１３－８０００",
    "١٣٨٠٠١٣٨٠٠٠",
    "①③⑧⓪⓪①③⑧⓪⓪⓪",
    "𝟏𝟑𝟖𝟎𝟎𝟏𝟑𝟖𝟎𝟎𝟎",
    "一三八零零一三八零零零",
    "幺三八〇〇幺三八〇〇〇",
    "+85212345678",
    "+1 415-555-2671",
]
AROUND = [
    "{}",
    "张三店{}",
    "张先生 {}",
    "store-{}",
    "tel:{}",
    "{}x",
    "{};",
    '"{}"',
    "{}@qq.com",
    "/p?phone={}",
    "tap-{}-1",
]

TEXTS = st.one_of(
    st.sampled_from(
        [
            *WRITTEN,
            OPENID,
            f"tap-{NUMBER}",
            "138",
            "0013800",
            "0",
            "\0",
            "z",
            "\0z",
            "z\0",
            f"\0z{NUMBER}\0",
            "9f2c" * 16,
            "+1415555",
            "oGZUI0egBJY1zhBYw2Kh",
            "dUfwVJJE",
            "张三店",
        ]
    ),
    st.text("0123456789abozA +-\0", max_size=40),
)

lower_hex = st.text("0123456789abcdef", min_size=1, max_size=64)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("written", WRITTEN)
def test_a_phone_number_is_found_however_it_is_written_and_wherever_it_stands(
    written: str, around: str
) -> None:
    text = around.format(written)
    assert find_identifier(text) == "a phone number"
    masked = mask_identifiers(text, "*")
    assert find_identifier(masked) is None
    # Adjacent characters may be masked too, such as the 1 behind a number with a country code.
    assert not any(character.isnumeric() for character in masked.removesuffix("-1").replace("张三", ""))


def test_a_numeral_in_a_name_hides_no_number() -> None:
    assert find_identifier(f"张三{NUMBER}") == "a phone number"
    assert mask_identifiers(f"张三{NUMBER}", "*") == "张三***********"


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.text(max_size=20), st.text(max_size=20))
def test_every_mobile_number_is_found_unless_digits_or_a_hash_run_into_it(
    number: str, before: str, after: str
) -> None:
    text = f"{before}|{number}|{after}"
    assert find_identifier(text) is not None
    assert number not in mask_identifiers(text, "*")


@pytest.mark.parametrize("around", ["{}", "用户{}", "user:{}", '"{}"', "{}@wechat"])
def test_an_openid_is_found_wherever_it_stands(around: str) -> None:
    text = around.format(OPENID)
    assert find_identifier(text) == "an openid"
    assert OPENID not in mask_identifiers(text, "*")


@given(st.text(string.ascii_letters + string.digits + "_-", min_size=20, max_size=20))
def test_an_openid_is_found_whatever_is_random_in_it(rest: str) -> None:
    assert find_identifier(f"oGZUI0eg{rest}") is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "一二三四五六七八九十",
        "quick",
        "wxfb1f3d218d111092",
        "wx13800138000abcde",
        "1790000000000",
        "20261017100503",
        "138001380001",
        "1380013800",
        "12345678901",
        "1.3.91234567890",
        "4200001234202611291234567890",
        "2026-10-17T10:05:03.120Z",
        "2026-10-17 17:05:03.120+08:00",
        "2026-10-17-123456789",
        "2026-10-17 123456789",
        "17:05:03.120+08:00",
        "1760695503-1",
        "192.168.10.113",
        "http://192.168.10.113:8080/taps",
        "550e8400-a138-4001-8000-446655440000",
        "sha256:a13800138000b5d1",
        "usera13800138000b5d1",
        "open-house-of-the-summer-2026",
        "organizations_and_their_apps",
        "300000000",
        "张三店",
    ],
)
def test_what_only_looks_alike_is_let_through(text: str) -> None:
    assert find_identifier(text) is None
    assert mask_identifiers(text, "*") == text


@given(
    st.binary(min_size=8, max_size=64),
    st.sampled_from(["{}", "tap-{}", "sha256:{}", "user{}", "{}-1", "/taps/{}/x"]),
)
def test_no_hash_is_taken_for_a_person(digest: bytes, around: str) -> None:
    assert are_hashes([digest.hex()])
    assert find_identifier(around.format(digest.hex())) is None
    assert find_identifier(around.format(digest.hex().upper())) is None


@given(st.from_regex(r"[0-9a-f]{1,8}1[3-9][0-9]{9}[0-9a-f]{8,40}", fullmatch=True))
def test_no_hash_is_taken_for_a_person_that_has_a_number_in_it(digest: str) -> None:
    assert find_identifier(digest) is None


@given(st.uuids(), st.sampled_from(["{}", "tap-{}", "urn:uuid:{}", "{}/1"]))
def test_no_uuid_is_taken_for_a_person(one: uuid.UUID, around: str) -> None:
    assert find_identifier(around.format(one)) is None


@given(st.binary(min_size=16, max_size=16))
def test_a_hash_in_base64_is_not_taken_for_a_person(digest: bytes) -> None:
    assert find_identifier(base64.urlsafe_b64encode(digest).decode().rstrip("=")) is None


@given(lower_hex)
def test_a_hash_is_told_at_once_only_where_searching_finds_nobody(text: str) -> None:
    if are_hashes([text]):
        assert mask_identifiers(text, "*") == text


@given(st.lists(TEXTS, max_size=8))
def test_of_many_texts_those_with_a_person_are_found_as_of_each_by_itself(texts: list[str]) -> None:
    assert texts_with_identifiers(texts) == {
        number for number, text in enumerate(texts) if find_identifier(text)
    }
    if are_hashes(texts):
        assert not texts_with_identifiers(texts)


def test_digits_of_one_text_and_of_the_next_are_no_number_and_hide_none() -> None:
    assert texts_with_identifiers(["13800138", "000", "x"]) == set()
    assert texts_with_identifiers(["13800138", "138-0013-8000", f"\0z\0{NUMBER}"]) == {1, 2}
    assert texts_with_identifiers(["13800138", "138-0013-8000"]) == {1}
    assert texts_with_identifiers(["tap-1", OPENID, "tap-3", f"{OPENID}-x"]) == {1}


@pytest.mark.parametrize(
    "texts",
    [
        ["9f2c" * 4, "9f2c"],
        ["9f2c" * 4, NUMBER],
        ["9f2c" * 4, " " * 32],
        ["9f2c" * 4, "9f2c" * 4 + "x"],
    ],
)
def test_hashes_are_told_together_only_where_each_is_one(texts: list[str]) -> None:
    assert not are_hashes(texts)
    assert are_hashes([*texts[:1], "", "9f2c" * 8])


def test_the_shortest_number_is_one_abroad_of_nine_digits() -> None:
    assert find_identifier("+123456789") == "a phone number"
    assert find_identifier("+12345678") is None


@pytest.mark.parametrize(
    "text", ["e7d524b842e625e", "e7 d5 24 b8 42 e6 25 e2", "e7d524b842e625eg", "13800138000-abcde"]
)
def test_what_is_no_hash_is_not_told_to_be_one(text: str) -> None:
    assert not are_hashes([text])


def test_eleven_digits_are_the_platforms_own_in_a_pack_and_a_stores_own_with_a_prefix() -> None:
    assert identifier_problem("data.pack_id", NUMBER) is None
    assert identifier_problem("data.order_id", f"order-{NUMBER}") is None
    assert identifier_problem("data.store", f"code:{NUMBER}") is None
    for path, text in (("data.pack_id", f"张三{NUMBER}"), ("data.scene", f"code:{NUMBER}"), ("id", NUMBER)):
        sentence = identifier_problem(path, text)
        assert sentence is not None
        assert sentence.startswith(f"{path} holds what looks like a phone number; leave it out")
        assert NUMBER not in sentence


@pytest.mark.parametrize("path", ["data.pack_id", "data.order_id"])
def test_an_openid_is_none_of_the_platforms_names(path: str) -> None:
    sentence = identifier_problem(path, "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
    assert sentence is not None
    assert sentence.startswith(f"{path} holds what looks like an openid")


def test_all_digits_can_be_masked_in_any_script() -> None:
    assert mask_digits("1３①三٣-x", "*") == "*****-x"
