"""Strict reading of events, and the reason of each rejection (rule 11: no floats; rule 15: one call each)."""

import json
from typing import Any

import pytest

from metering.event_validation import read_event, read_record
from metering.events import EVENT_TYPES, VALUE_BYTES_MAX, AnyEvent, Purchased, Succeeded
from metering.rejections import Rejection, RejectionReason
from metering.times import CLOCK_SKEW_MS, EARLIEST_MS, LATEST_MS, to_ms
from tests.metering.building import (
    APP,
    agreement_set,
    alerting_set,
    assigned,
    at,
    cancelled,
    corrected,
    denied,
    event,
    failed,
    migrated,
    move,
    opened,
    purchased,
    refunded,
    registered,
    routing_set,
    settled,
    succeeded,
    text_of,
    ticked,
)

SENTENCE_CHARACTERS_MAX = 600


def changed(value: bytes, path: str, to: object) -> bytes:
    """The event with one field (`data.calls`) set to something else."""
    whole: dict[str, Any] = json.loads(value)
    place = whole
    *parents, name = path.split(".")
    for parent in parents:
        place = place[parent]
    place[name] = to
    return json.dumps(whole).encode()


def without(value: bytes, path: str) -> bytes:
    whole: dict[str, Any] = json.loads(value)
    place = whole
    *parents, name = path.split(".")
    for parent in parents:
        place = place[parent]
    del place[name]
    return json.dumps(whole).encode()


def rejected(value: bytes, *, now_ms: int | None = None) -> Rejection:
    rejection = read_event(value, now_ms=now_ms)
    assert isinstance(rejection, Rejection), rejection
    assert len(rejection.sentence) <= SENTENCE_CHARACTERS_MAX
    assert rejection.sentence.endswith(".")
    return rejection


def accepted(value: bytes, *, now_ms: int | None = None) -> AnyEvent:
    read = read_event(value, now_ms=now_ms)
    assert not isinstance(read, Rejection), read
    return read


CALL = succeeded(at(1), client="e7d524b842e625e2")
PURCHASE = purchased(at(1), "pack-1")


@pytest.mark.parametrize(
    "value",
    [
        CALL,
        denied(at(1)),
        failed(at(1)),
        PURCHASE,
        assigned(at(1), "pack-1", assigned_at=at(0)),
        refunded(at(1), "pack-1"),
        cancelled(at(1), "pack-1"),
        registered(at(1), "company"),
        opened(at(1), 1_000),
        migrated(at(1), "wx-new"),
        alerting_set(at(1), levels_percent=[50]),
        agreement_set(at(1), "report"),
        routing_set(at(1), mode="sms", store_budgets=[{"store": "a", "calls": 1}]),
        event("platform.usage_observed", at(1), {"capability": "quick", "used": 3, "size": 250}),
        corrected(at(1), "event-1", void=True),
        corrected(at(1), "event-1", set={"calls": 250, "paid_at": "2026-01-01T00:00:00Z"}),
        settled(at(1), move(at(1), "uncovered", "pack:pack-1"), as_of=7),
        ticked(at(1)),
    ],
)
def test_an_event_of_every_type_is_read(value: bytes) -> None:
    assert accepted(value).__struct_config__.tag in EVENT_TYPES


def test_the_builders_above_cover_every_type() -> None:
    assert len(EVENT_TYPES) == 18


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "either `void`: true, or `set`"),
        ({"void": True, "set": {"calls": 1}}, "either `void`: true, or `set`"),
        ({"set": {}}, "either `void`: true, or `set`"),
        ({"set": {"errno": 1}}, "errno"),
        ({"set": {"calls": 0}}, "data.set.calls"),
        ({"set": {"entity_type": "goverment"}}, "not a known owner type"),
        ({"set": {"paid_at": "2016-01-01T00:00:00Z"}}, "data.set.paid_at"),
        ({"set": {"time": "2036-01-01T00:00:00Z"}}, "data.set.time"),
        ({"set": {"store": "13800138000"}}, "phone number"),
    ],
)
def test_a_correction_that_says_nothing_or_what_no_fact_has_is_refused(
    data: dict[str, object], words: str
) -> None:
    value = event("fact.corrected", at(1), {"event_id": "event-1"} | data)
    rejection = rejected(value, now_ms=at(2))
    assert words in rejection.sentence


def test_fields_that_are_unknown_are_ignored() -> None:
    value = changed(changed(CALL, "traceparent", {"a": [1.5, None]}), "data.weather", "sunny")
    assert accepted(value) == accepted(CALL)


def test_what_an_authorization_may_leave_out_is_empty() -> None:
    read = accepted(event("phone.authorization.succeeded", at(1), {"capability": "quick"}))
    assert isinstance(read, Succeeded)
    assert (read.data.scene, read.data.store, read.data.env, read.data.client) == ("", "", "", "")


def test_texts_may_be_chinese() -> None:
    read = accepted(succeeded(at(1), scene="领取会员卡", store="静安寺店"))
    assert isinstance(read, Succeeded)
    assert read.data.store == "静安寺店"


BROKEN = {
    "empty": b"",
    "blank": b"   ",
    "cut off": CALL[:-1],
    "two in one": CALL + CALL,
    "single quotes": CALL.replace(b'"', b"'"),
    "not a number": PURCHASE.replace(b"300000", b"NaN"),
    "infinite": PURCHASE.replace(b"300000", b"Infinity"),
    "leading zero": PURCHASE.replace(b"300000", b"0300000"),
    "half a surrogate pair": changed(CALL, "id", "x").replace(b'"x"', b'"\\ud800"'),
    "nested too deeply": CALL[:-1] + b', "more": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "objects nested too deeply": CALL[:-1] + b', "more": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_what_is_not_json_is_rejected_as_such(value: bytes) -> None:
    assert rejected(value).reason == "not_json"


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xfe",
        CALL.replace(b"e7d524", b"\xe7d524"),
        changed(CALL, "unknown", "here").replace(b"here", b"\xc3\x28"),
        changed(CALL, "unknown", "here").replace(b"here", b"\xed\xa0\x80"),
        CALL[:-1] + b', "\xff": 1}',
    ],
    ids=["nothing but", "in a field", "in an unknown field", "a surrogate", "in an unknown name"],
)
def test_what_is_not_utf8_is_rejected_as_such_wherever_it_stands(value: bytes) -> None:
    assert rejected(value).reason == "not_utf8"


def test_the_sentence_names_the_byte_that_is_not_utf8() -> None:
    value = changed(CALL, "unknown", "here").replace(b"here", b"\xc3\x28")
    assert f"byte {value.index(0xC3)} " in rejected(value).sentence


WRONG: dict[str, bytes] = {
    "a list": b"[]",
    "null": b"null",
    "a text": b'"phone.authorization.succeeded"',
    "an empty object": b"{}",
    "no type": without(CALL, "type"),
    "no id": without(CALL, "id"),
    "no subject": without(CALL, "subject"),
    "no time": without(CALL, "time"),
    "no source": without(CALL, "source"),
    "no specversion": without(CALL, "specversion"),
    "no data": without(CALL, "data"),
    "no capability": without(CALL, "data.capability"),
    "another specversion": changed(CALL, "specversion", "0.3"),
    "an empty id": changed(CALL, "id", ""),
    "an id that is a number": changed(CALL, "id", 7),
    "a long id": changed(CALL, "id", "x" * 129),
    "a subject with a space": changed(CALL, "subject", "wx 1"),
    "a subject with a line end": changed(CALL, "subject", "wx1\n"),
    "a subject with a slash": changed(CALL, "subject", "wx/1"),
    "an empty subject": changed(CALL, "subject", ""),
    "a long subject": changed(CALL, "subject", "x" * 65),
    "data that is a list": changed(CALL, "data", []),
    "data that is null": changed(CALL, "data", None),
    "an unknown capability": changed(CALL, "data.capability", "slow"),
    "a long store": changed(CALL, "data.store", "x" * 65),
    "an errno that is a text": changed(denied(at(1)), "data.errno", "103"),
    "a huge errno": changed(denied(at(1)), "data.errno", 2**31),
    "a time without a zone": changed(CALL, "time", "2024-01-01T00:00:00"),
    "a time that is a number": changed(CALL, "time", 1_704_067_200),
    "a day that does not exist": changed(CALL, "time", "2023-02-29T00:00:00Z"),
    "an hour that does not exist": changed(CALL, "time", "2024-01-01T24:00:00Z"),
    "a price with decimals": changed(PURCHASE, "data.price_micro_yuan", 7.5),
    "a price that is a whole float": changed(PURCHASE, "data.price_micro_yuan", 7_500_000.0),
    "a price with an exponent": PURCHASE.replace(b"300000", b"3e5"),
    "a price that is a text": changed(PURCHASE, "data.price_micro_yuan", "300000"),
    "a price that is true": PURCHASE.replace(b"300000", b"true"),
    "a negative price": changed(PURCHASE, "data.price_micro_yuan", -1),
    "a huge price": changed(PURCHASE, "data.price_micro_yuan", 10**15 + 1),
    "a price beyond 64 bits": changed(PURCHASE, "data.price_micro_yuan", 2**80),
    "a price of 4,000 digits": changed(PURCHASE, "data.price_micro_yuan", 0).replace(
        b'"price_micro_yuan": 0', b'"price_micro_yuan": ' + b"9" * 4_000
    ),
    "calls of 0": changed(PURCHASE, "data.calls", 0),
    "calls that are a float": changed(PURCHASE, "data.calls", 250.0),
    "a validity of 0 days": changed(PURCHASE, "data.validity_days", 0),
    "a validity of 100 years": changed(PURCHASE, "data.validity_days", 36_500),
    "an empty pack id": changed(PURCHASE, "data.pack_id", ""),
    "no paid_at": without(PURCHASE, "data.paid_at"),
    "a refund of no pack": changed(refunded(at(1), "pack-1"), "data", {}),
    "a level above 100 %": alerting_set(at(1), levels_percent=[101]),
    "a level that is a float": alerting_set(at(1), levels_percent=[20.0]),
    "eleven levels": alerting_set(at(1), levels_percent=list(range(11))),
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_a_field_that_is_missing_or_wrong_is_rejected_as_such(value: bytes) -> None:
    assert rejected(value).reason == "invalid_field"


def test_the_sentence_names_the_field_that_is_wrong() -> None:
    value = changed(PURCHASE, "data.price_micro_yuan", 7.5)
    assert rejected(value).sentence == "data.price_micro_yuan: expected `int`, got `float`."


@pytest.mark.parametrize("kind", ["phone.authorization.maybe", "", "Pack.purchased", "类型", "x" * 60_000, 7])
def test_an_unknown_type_is_rejected_with_the_known_ones_named(kind: object) -> None:
    rejection = rejected(changed(CALL, "type", kind))
    assert rejection.reason == "unknown_type"
    assert "phone.authorization.succeeded" in rejection.sentence


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("1970-01-01T00:00:00Z", "time_out_of_range"),
        ("2099-01-01T00:00:00Z", "time_out_of_range"),
        ("0001-01-01T00:00:00Z", "time_out_of_range"),
        ("0001-01-01T00:00:00+08:00", "time_out_of_range"),
        ("9999-12-31T23:59:59.999Z", "time_out_of_range"),
        ("9999-12-31T23:59:59-08:00", "time_out_of_range"),
        (text_of(EARLIEST_MS - 1), "time_out_of_range"),
        (text_of(LATEST_MS + 1), "time_out_of_range"),
    ],
)
@pytest.mark.parametrize(
    ("value", "path"),
    [
        (CALL, "time"),
        (PURCHASE, "data.paid_at"),
        (changed(PURCHASE, "data.starts_at", None), "data.starts_at"),
    ],
    ids=["time", "paid_at", "starts_at"],
)
def test_a_time_out_of_range_is_rejected_as_such(
    value: bytes, path: str, time: str, reason: RejectionReason
) -> None:
    rejection = rejected(changed(value, path, time))
    assert rejection.reason == reason
    assert rejection.sentence.startswith(path)


@pytest.mark.parametrize("time_ms", [EARLIEST_MS, LATEST_MS])
def test_the_ends_of_the_range_belong_to_it(time_ms: int) -> None:
    assert to_ms(accepted(succeeded(time_ms)).time) == time_ms


def test_a_time_may_be_an_hour_ahead_of_the_record_and_no_more() -> None:
    now_ms = at(5)
    accepted(succeeded(now_ms + CLOCK_SKEW_MS), now_ms=now_ms)
    assert rejected(succeeded(now_ms + CLOCK_SKEW_MS + 1), now_ms=now_ms).reason == "time_out_of_range"


def test_a_pack_may_be_paid_at_most_an_hour_ahead_and_start_any_time_later() -> None:
    now_ms = at(5)
    paid_ahead = purchased(now_ms, "pack-1", paid_at=now_ms + CLOCK_SKEW_MS + 1)
    assert rejected(paid_ahead, now_ms=now_ms).reason == "time_out_of_range"
    read = accepted(purchased(now_ms, "pack-1", starts_at=at(400)), now_ms=now_ms)
    assert isinstance(read, Purchased)
    assert read.data.starts_at is not None
    assert to_ms(read.data.starts_at) == at(400)


def test_a_value_may_be_64_kib_and_no_more() -> None:
    value = changed(CALL, "unknown", "")
    largest = value.replace(b'""', b'"' + b"x" * (VALUE_BYTES_MAX - len(value)) + b'"', 1)
    assert len(largest) == VALUE_BYTES_MAX == 64 * 1_024
    accepted(largest)
    assert rejected(largest + b" ").reason == "too_large"


@pytest.mark.parametrize("calls", [1, None])
def test_an_authorization_may_say_that_it_is_one_call(calls: int | None) -> None:
    said = read_event(
        event("phone.authorization.succeeded", at(1), {"capability": "quick", "calls": calls}), now_ms=None
    )
    assert isinstance(said, Succeeded)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            succeeded(at(1), capability="slow"),
            "data.capability: invalid enum value 'slow'; it is quick or realtime.",
        ),
        (
            succeeded(at(1), app="wx other"),
            "subject: expected an appid, which is 1 to 64 letters, digits, hyphens or underscores.",
        ),
        (
            event("phone.authorization.succeeded", at(1), {}),
            "data: object missing required field `capability`.",
        ),
        (
            event("phone.authorization.succeeded", at(1), {"capability": "quick", "calls": -1}),
            "data.calls: invalid enum value -1; an authorization is exactly one call.",
        ),
        (
            event("phone.authorization.denied", at(1), {"capability": "quick", "calls": 2}),
            "data.calls: invalid enum value 2; an authorization is exactly one call.",
        ),
    ],
)
def test_a_rejection_says_first_where_and_then_what_is_expected(value: bytes, sentence: str) -> None:
    assert rejected(value) == Rejection("invalid_field", sentence)


def test_a_record_without_a_key_is_rejected() -> None:
    for key in (None, b""):
        rejection = read_record(key, CALL, now_ms=None)
        assert isinstance(rejection, Rejection)
        assert rejection.reason == "key_missing"
        assert APP in rejection.sentence


def test_a_record_with_another_key_than_its_subject_is_rejected() -> None:
    for key in (b"wx-other", APP.upper().encode(), b"\xff" * 1_000):
        rejection = read_record(key, CALL, now_ms=None)
        assert isinstance(rejection, Rejection)
        assert rejection.reason == "key_mismatch"
        assert len(rejection.sentence) <= SENTENCE_CHARACTERS_MAX


def test_a_record_without_a_value_is_rejected() -> None:
    rejection = read_record(APP.encode(), None, now_ms=None)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "not_json"


def test_a_record_whose_value_is_broken_is_rejected_for_that_whatever_its_key() -> None:
    rejection = read_record(None, b"{", now_ms=None)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "not_json"


def test_a_record_whose_key_is_its_subject_is_read() -> None:
    assert read_record(APP.encode(), CALL, now_ms=at(1)) == accepted(CALL)
