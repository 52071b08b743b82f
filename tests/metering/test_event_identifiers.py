"""Phone numbers and openids in events: rejected in every field, and not repeated in the sentence."""

import pytest

from metering.event_validation import read_event, read_record
from metering.rejections import Rejection
from tests.metering.building import at, event, purchased, registered, succeeded
from tests.metering.test_event_validation import CALL, accepted, rejected


@pytest.mark.parametrize(
    "client",
    [
        "13812345678",
        "+8613812345678",
        "8613812345678",
        "008613812345678",
        "138 1234 5678",
        "+86 138-1234-5678",
        "(+86)13812345678",
    ],
)
def test_a_phone_number_as_client_is_rejected_and_not_repeated(client: str) -> None:
    rejection = rejected(succeeded(at(1), client=client))
    assert rejection.reason == "phone_number"
    assert "5678" not in rejection.sentence


@pytest.mark.parametrize("kind", ["succeeded", "denied", "failed"])
def test_a_phone_number_is_rejected_whatever_the_outcome(kind: str) -> None:
    data = {"capability": "quick", "client": "13812345678"}
    assert rejected(event(f"phone.authorization.{kind}", at(1), data)).reason == "phone_number"


@pytest.mark.parametrize("field", ["id", "source"])
def test_a_phone_number_is_rejected_in_what_every_event_has(field: str) -> None:
    rejection = rejected(
        event("phone.authorization.succeeded", at(1), {"capability": "quick"}, **{field: "138 1234 5678"})
    )
    assert rejection == Rejection(
        "phone_number",
        f"{field} holds what looks like a phone number; leave it out, or send a keyed hash of the user as "
        "data.client.",
    )


@pytest.mark.parametrize(
    "written",
    [
        "13812345678",
        "１３８１２３４５６７８",
        "＋８６（１３８）１２３４－５６７８",
        "١٣٨١٢٣٤٥٦٧٨",
        "①③⑧①②③④⑤⑥⑦⑧",
    ],
)
@pytest.mark.parametrize("field", ["scene", "store", "env", "client"])
def test_a_phone_number_is_rejected_in_every_text_of_a_tap_and_in_any_digits(
    field: str, written: str
) -> None:
    rejection = rejected(succeeded(at(1), **{field: written}))
    assert (rejection.reason, rejection.sentence.split()[0]) == ("phone_number", f"data.{field}")


def test_a_phone_number_is_rejected_as_an_appid_and_in_a_registration() -> None:
    assert rejected(succeeded(at(1), app="13812345678")).reason == "phone_number"
    assert rejected(registered(at(1), "13812345678")).reason == "phone_number"


def test_a_pack_of_the_platform_may_have_eleven_digits() -> None:
    assert not isinstance(read_event(purchased(at(1), "13812345678"), now_ms=None), Rejection)


@pytest.mark.parametrize("client", ["oGZUI0egBJY1zhBYw2KhdUfwVJJE", "u:oGZUI0egBJY1zhBYw2KhdUfwVJJE"])
def test_an_openid_as_client_is_rejected_and_not_repeated(client: str) -> None:
    rejection = rejected(succeeded(at(1), client=client))
    assert rejection.reason == "phone_number"
    assert "data.client holds what looks like an openid" in rejection.sentence
    assert client not in rejection.sentence


@pytest.mark.parametrize("client", ["Zhang San", "张三", "zhang@example.com", "c\x1b[31m", "<!channel>"])
def test_a_client_is_one_word_as_a_hash_is(client: str) -> None:
    rejection = rejected(succeeded(at(1), client=client))
    assert rejection.reason == "invalid_field"
    assert rejection.sentence.startswith("data.client: expected a keyed hash of the user")


@pytest.mark.parametrize(
    "client", ["", "e7d524b842e625e2", "12345678901", "55E2/+0fd-_a=", "sha256:9f2c", "bot.7"]
)
def test_every_usual_way_to_write_a_hash_is_a_client(client: str) -> None:
    accepted(succeeded(at(1), client=client))


def test_a_store_code_of_eleven_digits_needs_its_prefix_and_is_told_of_it() -> None:
    rejection = rejected(succeeded(at(1), store="13912345678"))
    assert "a code of the store that is no phone number is sent as code:NUMBER" in rejection.sentence
    accepted(succeeded(at(1), store="code:13912345678"))
    for store in ("code:13912345678 Zhang", "code:+8613912345678", "code: 13912345678", "code:139-1234-5678"):
        assert rejected(succeeded(at(1), store=store)).reason == "phone_number"
    assert rejected(succeeded(at(1), scene="code:13912345678")).reason == "phone_number"


@pytest.mark.parametrize(
    "quoted", ["tel:13812345678", "１３８１２３４５６７８", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"]
)
def test_what_a_sentence_repeats_of_a_record_tells_nobody(quoted: str) -> None:
    unknown_type = rejected(event(quoted, at(1), {}))
    unknown_value = rejected(succeeded(at(1), capability=quoted))
    wrong_key = read_record(quoted.encode(), CALL, now_ms=None)
    assert isinstance(wrong_key, Rejection)
    assert [one.reason for one in (unknown_type, unknown_value, wrong_key)] == [
        "unknown_type",
        "invalid_field",
        "key_mismatch",
    ]
    for one in (unknown_type, unknown_value, wrong_key):
        assert "***********" in one.sentence
        assert quoted[-8:] not in one.sentence


def test_a_pack_of_the_platform_that_is_more_than_digits_is_searched() -> None:
    assert rejected(purchased(at(1), "张三 13812345678")).reason == "phone_number"
