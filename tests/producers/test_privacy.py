"""Personal data, which must not enter a topic."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.events import to_json
from producers.privacy import find_personal_data

EVENT: dict[str, Any] = {"subject": "wx1", "data": {"capability": "quick", "client": "e7d524b842e625e2"}}


def finding(**more: Any) -> str | None:  # noqa: ANN401 - data is arbitrary JSON
    rejection = find_personal_data(to_json({**EVENT, "data": EVENT["data"] | more}))
    return None if rejection is None else rejection.sentence


@pytest.mark.parametrize(
    "name",
    [
        "phoneNumber",
        "purePhoneNumber",
        "phone_number",
        "phone-number",
        "PHONE",
        "mobile",
        "openid",
        "unionId",
        "tel",
        "userTel",
        "Phone_No",
        "phone2",
        "mobilePhone",
        "wxOpenId",
        "user_openid",
        "手机号码",
        "联系电话",
    ],
)
def test_a_field_named_after_a_person_is_refused_whatever_it_holds(name: str) -> None:
    sentence = finding(**{name: "hidden"})
    assert sentence is not None
    assert f"data.{name} may not enter" in sentence


@pytest.mark.parametrize("name", ["hotel", "headphones", "phone_model", "mobileOs", "appid", "traceparent"])
def test_a_field_named_after_a_thing_is_none_of_them(name: str) -> None:
    assert finding(**{name: "hidden"}) is None


def test_a_phone_number_that_is_a_name_is_refused_and_not_repeated() -> None:
    sentence = finding(users={"13800138000": 1})
    assert sentence is not None
    assert sentence.startswith("A name in data.users holds what looks like a phone number")
    assert "13800138000" not in sentence


def test_a_nested_phone_number_is_found() -> None:
    sentence = finding(phone_info={"watermark": [{"note": "13800138000"}]})
    assert sentence is not None
    assert sentence.startswith("data.phone_info.watermark[0].note holds what looks like a phone number")


def test_a_phone_number_sent_as_a_number_is_found() -> None:
    assert finding(user=13800138000) is not None
    assert finding(user=13800138000.0) is not None
    assert finding(user=13800138000.5) is None
    assert finding(user=True) is None


def test_a_price_and_an_order_of_eleven_digits_are_no_phone_numbers() -> None:
    assert finding(price_micro_yuan=15_000_000_000, order_id="15000000001", pack_id="15000000002") is None


def test_what_is_nested_too_deep_to_search_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(10):
        nested = {"more": nested}
    sentence = finding(nested=nested)
    assert sentence is not None
    assert "nested deeper than" in sentence


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.sampled_from(["", "+86", "86", "+86 "]))
def test_every_mobile_number_is_found_with_and_without_its_country(number: str, prefix: str) -> None:
    assert finding(note=prefix + number) is not None


@given(st.from_regex(r"[0-9a-f]{16}", fullmatch=True))
def test_no_client_hash_is_taken_for_a_phone_number(client: str) -> None:
    assert finding(client=client) is None
