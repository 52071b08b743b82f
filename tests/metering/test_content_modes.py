"""Events in both content modes of the CloudEvents binding for Kafka, as SDKs write them."""

import base64
import json
from collections.abc import Callable

import pytest
from cloudevents.v1.http import CloudEvent
from cloudevents.v1.kafka import KafkaMessage, to_binary, to_structured

from metering.content_modes import UNREADABLE_HEADERS, Headers
from metering.event_reader import read, read_all
from metering.event_validation import read_event
from metering.events import Authorization
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rejections import Rejection
from metering.rules import Rules
from tests.metering.building import APP, at, text_of

ARRIVED_MS = at(2)
ATTRIBUTES = {
    "id": "tap-1",
    "source": "/backend/cepy",
    "type": "phone.authorization.succeeded",
    "subject": APP,
    "time": text_of(at(1)),
    "partitionkey": APP,
    "datacontenttype": "application/json",
}
DATA = {"capability": "quick", "store": "上海店"}
BINARY: dict[str, bytes | None] = {
    "content-type": b"application/json",
    **{f"ce_{name}": str(value).encode() for name, value in ATTRIBUTES.items() if name[0] != "d"},
    "ce_specversion": b"1.0",
}


def record(value: bytes | None, headers: Headers) -> Record:
    return Record(0, ARRIVED_MS, APP.encode(), value, headers)


def binary(data: object = DATA, **headers: bytes | None) -> Record:
    """A record in binary mode, with some headers changed; those given as None are left out."""
    changed = {**BINARY, **headers}
    value = data if isinstance(data, bytes) else json.dumps(data).encode()
    return record(value, [(name, one) for name, one in changed.items() if one is not None])


def accepted(one: Record) -> Authorization:
    event = read(one)
    assert isinstance(event, Authorization), event
    assert read_all([one]).events == [event]
    return event


def refused(one: Record) -> Rejection:
    rejection = read(one)
    assert isinstance(rejection, Rejection), rejection
    assert read_all([one]).events == [rejection]
    return rejection


@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_what_the_python_sdk_writes_is_read(write: Callable[[CloudEvent], KafkaMessage]) -> None:
    message = write(CloudEvent(ATTRIBUTES, DATA))
    headers = [
        (name, one if isinstance(one, bytes) else str(one).encode()) for name, one in message.headers.items()
    ]
    value = message.value if isinstance(message.value, bytes) else str(message.value).encode()
    event = accepted(record(value, headers))
    assert (event.id, event.source, event.data.store) == ("tap-1", "/backend/cepy", "上海店")


def test_both_modes_say_the_same() -> None:
    structured = json.dumps({"specversion": "1.0", **ATTRIBUTES, "data": DATA}).encode()
    assert accepted(binary()) == accepted(record(structured, ()))


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents+json",
        b"application/cloudevents+json; charset=UTF-8",
        b"application/cloudevents",
    ],
)
def test_the_content_type_says_that_an_event_is_structured_whatever_headers_repeat(
    content_type: bytes,
) -> None:
    structured = json.dumps({"specversion": "1.0", **ATTRIBUTES, "data": DATA}).encode()
    headers = [("Content-Type", content_type), ("ce_specversion", b"1.0"), ("ce_id", b"another")]
    assert accepted(record(structured, headers)).id == "tap-1"


def test_headers_that_are_no_attributes_change_nothing() -> None:
    structured = json.dumps({"specversion": "1.0", **ATTRIBUTES, "data": DATA}).encode()
    headers = [
        ("__TypeId__", b"com.example.Event"),
        ("traceparent", b"00-4b"),
        ("content-type", b"text/plain"),
    ]
    assert accepted(record(structured, headers)).id == "tap-1"
    assert accepted(binary(traceparent=b"\xff", __TypeId__=b"x")).id == "tap-1"


@pytest.mark.parametrize(
    ("headers", "reason", "sentence"),
    [
        (UNREADABLE_HEADERS, "not_utf8", "The name of a header is not UTF-8 text."),
        ([("content-type", b"application/cloudevents-batch+json")], "not_json", "is not read; publish each"),
        ([("content-type", b"application/cloudevents+avro")], "not_json", "is not read; publish each"),
    ],
)
def test_an_event_shaped_value_is_refused_if_its_headers_say_that_it_is_something_else(
    headers: Headers, reason: str, sentence: str
) -> None:
    structured = json.dumps({"specversion": "1.0", **ATTRIBUTES, "data": DATA}).encode()
    rejection = refused(record(structured, headers))
    assert rejection.reason == reason
    assert sentence in rejection.sentence


def test_an_event_shaped_value_in_binary_mode_is_data_and_not_the_event() -> None:
    plain = {name: value for name, value in ATTRIBUTES.items() if name != "partitionkey"}
    structured = json.dumps({"specversion": "1.0", **plain, "data": {"capability": "quick"}}).encode()
    assert accepted(record(structured, ())).id == "tap-1"
    assert refused(binary(structured)).sentence == "data: object missing required field `capability`."


@pytest.mark.parametrize(
    ("one", "reason", "sentence"),
    [
        (binary(ce_subject=None), "invalid_field", "missing required field `subject`"),
        (binary(ce_id=None), "invalid_field", "missing required field `id`"),
        (binary(ce_type=b"phone.guessed"), "unknown_type", "type: "),
        (binary(ce_time=b"yesterday"), "invalid_field", "time: "),
        (binary(ce_specversion=b"0.3"), "invalid_field", "specversion: "),
        (binary(ce_source=b"\xff"), "not_utf8", "The header 'ce_source' is not UTF-8"),
        (binary(ce_data=b"{}"), "invalid_field", "'ce_data' is no attribute"),
        (binary(b""), "invalid_field", "missing required field `data`"),
        (binary(b"{"), "not_json", "data: the bytes are not JSON"),
        (binary(b'{"capability":"quick"},"subject":"wx"'), "not_json", "data: the bytes are not JSON"),
        (binary(b'{"capability":"\xff"}'), "not_utf8", "data: the bytes are not UTF-8"),
        (binary(b'{"capability":"quick","capability":"quick"}'), "doubled_key", "'capability' stands twice"),
        (binary({**DATA, "x": "y" * 65_536}), "too_large", "larger than 65536"),
        (
            binary(**{"content-type": b"application/cloudevents+avro"}),
            "not_json",
            "cloudevents+avro' is not read",
        ),
        (
            binary(**{"content-type": b"application/cloudevents-batch+json"}),
            "not_json",
            "a record of its own",
        ),
        (binary(ce_subject=b"wxother"), "key_mismatch", "is not its subject 'wxother'"),
    ],
)
def test_what_is_wrong_in_binary_mode_is_told_as_it_is_in_structured_mode(
    one: Record, reason: str, sentence: str
) -> None:
    rejection = refused(one)
    assert rejection.reason == reason
    assert sentence in rejection.sentence


def test_an_attribute_that_stands_twice_is_refused() -> None:
    twice = record(json.dumps(DATA).encode(), [*((n, v) for n, v in BINARY.items()), ("ce_id", b"tap-2")])
    assert refused(twice) == Rejection("doubled_key", "The header 'ce_id' stands twice.")


def test_a_letter_keeps_the_headers_that_make_its_event() -> None:
    one = binary(ce_type=b"phone.guessed")
    (letter,) = meter(PartitionState(0), [one], Rules()).dead_letters
    assert (letter.value, letter.headers) == (one.value, tuple(one.headers))


def structured_with(**fields: object) -> Record:
    event = {"specversion": "1.0", **ATTRIBUTES, "data": DATA} | fields
    return record(json.dumps({name: one for name, one in event.items() if one != "absent"}).encode(), ())


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_data_in_base64_is_read() -> None:
    event = accepted(structured_with(data="absent", data_base64=encoded(json.dumps(DATA).encode())))
    assert event == accepted(structured_with())


@pytest.mark.parametrize(
    ("one", "reason", "sentence"),
    [
        (structured_with(data_base64=encoded(b"{}")), "invalid_field", "both data and data_base64"),
        (structured_with(data="absent", data_base64="?"), "invalid_field", "expected a text in base64"),
        (structured_with(data="absent", data_base64=7), "invalid_field", "expected a text in base64"),
        (structured_with(data="absent", data_base64=encoded(b"{")), "not_json", "data_base64: the bytes"),
        (structured_with(data="absent", data_base64=encoded(b"\xff")), "not_utf8", "data_base64: the bytes"),
        (
            structured_with(data="absent", data_base64=encoded(b'{"store":"a","store":"b"}')),
            "doubled_key",
            "'store' stands twice",
        ),
        (
            structured_with(data="absent", data_base64=encoded(b'{"capability":"slow"}')),
            "invalid_field",
            "data.capability",
        ),
    ],
)
def test_what_is_wrong_with_data_in_base64_is_told(one: Record, reason: str, sentence: str) -> None:
    rejection = refused(one)
    assert rejection.reason == reason
    assert sentence in rejection.sentence


def test_a_null_is_an_absent_field_everywhere() -> None:
    """Rule 15."""
    nulls = structured_with(
        dataschema=None, datacontenttype=None, data_base64=None, data=DATA | {"scene": None, "client": None}
    )
    assert accepted(nulls).data == accepted(structured_with()).data


@pytest.mark.parametrize("name", ["id", "subject", "time", "type", "data"])
def test_a_null_where_a_field_is_needed_is_a_missing_field(name: str) -> None:
    null, absent = refused(structured_with(**{name: None})), refused(structured_with(**{name: "absent"}))
    assert null == absent


def test_a_null_in_a_fact_that_is_no_tap_is_absent_as_well() -> None:
    data = {"pack_id": "p", "capability": "quick", "calls": 250, "validity_days": 90, "price_micro_yuan": 1}
    purchase = {
        "specversion": "1.0",
        **ATTRIBUTES,
        "type": "pack.purchased",
        "data": data | {"paid_at": text_of(at(1)), "order_id": None, "starts_at": None},
    }
    assert not isinstance(read_event(json.dumps(purchase).encode(), now_ms=None), Rejection)


def test_a_tombstone_in_binary_mode_has_no_data() -> None:
    one = record(None, list(BINARY.items()))
    assert "missing required field `data`" in refused(one).sentence
