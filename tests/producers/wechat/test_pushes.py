"""Pushes in each of WeChat's modes and formats, as the stand-in makes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.wechat.message_crypt import MessageKey
from producers.wechat.pushes import ForgedPushError, InvalidPushError, PlatformMessage, SignedQuery, read_push
from producers.wechat_sim.accounts import PushTarget
from producers.wechat_sim.pushing import (
    Format,
    Mode,
    SentPush,
    encrypted,
    make_push,
    quota_message,
    signed,
    ticket_message,
    validity_message,
    written,
)
from tests.producers.wechat.parts import AES_KEY, APP, PLATFORM, PUSH_TOKEN, TICKET

TARGET = PushTarget("http://127.0.0.1", PUSH_TOKEN, AES_KEY)
KEY = MessageKey(AES_KEY)
QUOTA = quota_message(APP, "10000077", 800, 1_000, 1_700_000_000)
READ = PlatformMessage("charge_service_quota_notify", "3", APP, "10000077", "1000", "800", "1700000000", "")


def read(push: SentPush, key: MessageKey | None = KEY, receiver: str = APP) -> PlatformMessage:
    return read_push(push.body, SignedQuery.of(push.query), PUSH_TOKEN, key, receiver)


@pytest.mark.parametrize("style", ["xml", "json"])
@pytest.mark.parametrize(
    ("mode", "key"), [("plain", None), ("compatible", None), ("compatible", KEY), ("safe", KEY)]
)
def test_a_push_is_read_in_each_mode_and_format(mode: Mode, style: Format, key: MessageKey | None) -> None:
    assert read(make_push(QUOTA, TARGET, APP, mode, style), key) == READ


@pytest.mark.parametrize("event", ["charge_service_quota_notify", "charge_mp_service_quota_notify"])
def test_both_names_of_the_event_are_about_paid_calls(event: str) -> None:
    message = quota_message(APP, "10000077", 8, 10, 1, event)
    assert read(make_push(message, TARGET, APP, "safe", "json")).is_about_paid_calls


@pytest.mark.parametrize("event", ["charge_service_quota_notify", "charge_mp_service_validity_notify"])
def test_the_end_of_a_validity_is_told_by_its_type_whatever_its_name(event: str) -> None:
    message = read(make_push(validity_message(APP, "10000077", 5, 1, event), TARGET, APP, "safe", "xml"))
    assert (message.is_about_paid_calls, message.event_type, message.used) == (True, "4", "")


def test_values_that_are_texts_are_read_as_well() -> None:
    """So third-party platforms got them."""
    texts = {name: str(value) for name, value in QUOTA.items()}
    assert read(make_push(texts, TARGET, APP, "safe", "json")) == READ


def test_a_platforms_ticket_is_read() -> None:
    push = make_push(ticket_message(PLATFORM, TICKET, 1), TARGET, PLATFORM, "safe", "xml")
    message = read(push, receiver=PLATFORM)
    assert (message.kind, message.ticket) == ("component_verify_ticket", TICKET)
    assert not message.is_about_paid_calls


def test_with_a_key_the_plain_part_of_a_compatible_push_does_not_count() -> None:
    push = make_push(QUOTA, TARGET, APP, "compatible", "json")
    changed = json.loads(push.body) | {"total_used_quota": 1}
    assert read(push._replace(body=json.dumps(changed).encode())) == READ


def test_with_a_key_a_plain_push_is_refused() -> None:
    with pytest.raises(ForgedPushError):
        read(make_push(QUOTA, TARGET, APP, "plain", "xml"))


@pytest.mark.parametrize("mode", ["plain", "safe"])
@pytest.mark.parametrize("changed", ["signature", "msg_signature", "timestamp", "nonce"])
def test_a_push_whose_address_was_changed_is_refused(mode: Mode, changed: str) -> None:
    push = make_push(QUOTA, TARGET, APP, mode, "xml")
    if mode == "safe" and changed == "signature":
        push.query["msg_signature"] = push.query["signature"]
    elif changed in push.query:
        push.query[changed] = "0" * len(push.query[changed])
    else:
        push.query["signature"] = ""
    with pytest.raises(ForgedPushError):
        read(push, None if mode == "plain" else KEY)


def test_a_push_of_another_token_is_refused() -> None:
    with pytest.raises(ForgedPushError):
        read(make_push(QUOTA, PushTarget("", "another", AES_KEY), APP, "safe", "xml"))


def test_a_push_that_was_encrypted_for_another_receiver_is_refused() -> None:
    with pytest.raises(ForgedPushError):
        read(make_push(QUOTA, TARGET, PLATFORM, "safe", "xml"))


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><xml><Event>&b;</Event></xml>'
OUTSIDE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Event>&a;</Event></xml>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"success",
        b"<xml>",
        b"[1]",
        b"{",
        b'{"a":' * 20_000,
        b"<a>" * 20_000,
        b"\xff\xfe",
        b'<?xml version="1.0" encoding="no-such"?><xml/>',
        BOMB,
        OUTSIDE,
        b"<!DOCTYPE xml><xml><Event>x</Event></xml>",
        b"<xml>" + b"<a/>" * 200 + b"</xml>",
        json.dumps({str(number): 1 for number in range(200)}).encode(),
    ],
)
@pytest.mark.parametrize("encrypt", [True, False])
def test_what_is_no_message_is_refused_encrypted_or_not(body: bytes, *, encrypt: bool) -> None:
    secret = encrypted(body, AES_KEY, APP)
    query = {"timestamp": "1", "nonce": "2", "signature": signed(PUSH_TOKEN, "1", "2")}
    if encrypt:
        query["msg_signature"] = signed(PUSH_TOKEN, "1", "2", secret)
        push = SentPush(query, written({"Encrypt": secret}, "json"))
    else:
        push = SentPush(query, body)
    with pytest.raises(InvalidPushError):
        read(push, KEY if encrypt else None)


def test_fields_within_fields_and_of_other_types_are_left_out() -> None:
    body = b'{"Event":"x","a":{"spu_id":"1"},"spu_id":[1],"appid":null,"event_type":true,"total_quota":1.5}'
    query = {"timestamp": "1", "nonce": "2", "signature": signed(PUSH_TOKEN, "1", "2")}
    assert read(SentPush(query, body), None) == PlatformMessage("x", "", "", "", "", "", "", "")


FIELDS = st.dictionaries(
    st.sampled_from(["Event", "event_type", "appid", "spu_id", "total_quota", "CreateTime", "Encrypt", "x"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)


@given(
    st.binary()
    | st.text().map(str.encode)
    | FIELDS.map(lambda fields: json.dumps(fields).encode())
    | st.text(alphabet="<>/ax&;![]\"'=- ").map(lambda text: f"<xml>{text}</xml>".encode())
)
def test_whatever_is_sent_is_a_message_or_refused(body: bytes) -> None:
    query = {"timestamp": "1", "nonce": "2", "signature": signed(PUSH_TOKEN, "1", "2")}
    encrypt = encrypted(body, AES_KEY, APP)
    sealed = query | {"msg_signature": signed(PUSH_TOKEN, "1", "2", encrypt)}
    for push, key in (
        (SentPush(query, body), None),
        (SentPush(query, body), KEY),
        (SentPush(sealed, written({"Encrypt": encrypt}, "xml")), KEY),
    ):
        try:
            found = read(push, key)
        except (ForgedPushError, InvalidPushError):
            continue
        assert all(isinstance(text, str) for text in found)
