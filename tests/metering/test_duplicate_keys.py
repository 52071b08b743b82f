"""Duplicate keys are found however the JSON is written, and unique keys are recognized."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.duplicate_keys import duplicate_key, has_unique_keys
from metering.event_reader import read, read_all
from metering.event_validation import decoder, read_event
from metering.events import Authorization
from metering.records import Record
from metering.rejections import Rejection
from tests.metering.building import APP, at, succeeded, text_of

Pairs = list[tuple[str, object]]

TEXTS = st.sampled_from(["", "a", "x:y", "urn:a:b", "\\", '"', "店", '","id":"', "+08:00", '":'])
EXTENSIONS = st.sampled_from(["traceparent", "dataschema", "scene", "data_base64x", "a:b"])
INNER = st.sampled_from(["traceparent", "dataschema", "page", "time", "id"])


def written(value: object, colon: str, *, escaped: bool) -> str:
    """JSON with objects as lists of pairs, which can have duplicate keys."""
    if isinstance(value, list):
        inner = (
            f"{json.dumps(key, ensure_ascii=escaped)}{colon}{written(one, colon, escaped=escaped)}"
            for key, one in value
        )
        return f"{{{','.join(inner)}}}"
    return json.dumps(value, ensure_ascii=escaped)


@st.composite
def taps(draw: st.DrawFn) -> tuple[bytes, bool]:
    """An authorization, and True if it has a duplicate key."""
    data: Pairs = [("capability", "quick")]
    data += [(name, draw(TEXTS)) for name in ("scene", "store", "env") if draw(st.booleans())]
    data += [("client", "e7d5")] if draw(st.booleans()) else []
    kind = draw(st.sampled_from(["succeeded", "denied"]))
    if kind == "denied" and draw(st.booleans()):
        data.append(("errno", draw(st.sampled_from([0, 103]))))
    data += [(name, draw(TEXTS)) for name in draw(st.sets(INNER, max_size=2))]
    zone = draw(st.sampled_from(["Z", "+08:00", "+0800", "+00:00", "-11:30"]))
    event: Pairs = [
        ("specversion", "1.0"),
        ("id", draw(TEXTS) + "i"),
        ("source", draw(TEXTS)),
        ("type", f"phone.authorization.{kind}"),
        ("subject", APP),
        ("time", f"2026-10-17T10:05:03.120{zone}"),
    ]
    event += [("datacontenttype", "application/json")] if draw(st.booleans()) else []
    event += [(name, draw(TEXTS)) for name in draw(st.lists(EXTENSIONS, max_size=2, unique=True))]
    event.append(("data", data))
    doubled = draw(st.booleans())
    if doubled:
        inside = draw(st.sampled_from([event, data]))
        key, value = draw(st.sampled_from(inside))
        inside.insert(draw(st.integers(0, len(inside))), (key, value))
    colon = draw(st.sampled_from([":", ": ", " : ", "\t:\n"]))
    return written(event, colon, escaped=draw(st.booleans())).encode(), doubled


@given(taps())
def test_keys_are_said_to_stand_once_only_where_they_do(tap: tuple[bytes, bool]) -> None:
    value, doubled = tap
    event = decoder.decode(value)
    assert isinstance(event, Authorization)
    assert not (doubled and has_unique_keys(value, event))
    assert (duplicate_key(value) is not None) == doubled


@given(taps())
def test_a_batch_refuses_what_a_single_reading_refuses(tap: tuple[bytes, bool]) -> None:
    value, doubled = tap
    record = Record(0, at(2_000), APP.encode(), value)
    (one,) = read_all([record]).events
    assert one == read(record)
    if doubled:
        assert isinstance(one, Rejection)
    elif isinstance(one, Rejection):
        assert one.reason != "doubled_key"


@given(st.lists(taps(), max_size=6))
def test_what_is_learned_of_some_events_hides_no_key_that_stands_twice_in_the_next(
    several: list[tuple[bytes, bool]],
) -> None:
    records = [Record(number, at(2_000), APP.encode(), value) for number, (value, _) in enumerate(several)]
    events = read_all(records).events
    assert events == [read(record) for record in records]
    assert all(
        isinstance(event, Rejection) for event, (_, twice) in zip(events, several, strict=True) if twice
    )


def test_what_a_source_sends_beside_is_no_excuse_for_a_key_that_stands_twice() -> None:
    beside = FULL.replace('"data":', '"traceparent":"00-4b","data":')
    values = [
        beside,
        beside,
        FULL.replace('"store":', '"store":"other","store":'),
        FULL.replace('"data":', '"scene":"x","data":'),
        FULL.replace('"store":', '"store":"other","store":'),
        beside.replace('"traceparent":', '"traceparent":"","traceparent":'),
        FULL.replace('"store-03"', '""'),
        FULL.replace('"store":', '"store":"other","store":'),
    ]
    records = [Record(number, at(2_000), APP.encode(), value.encode()) for number, value in enumerate(values)]
    events = read_all(records).events
    assert [isinstance(event, Rejection) for event in events] == [
        *(False, False, True, False, True, True),
        *(False, True),
    ]
    assert events == [read(record) for record in records]


FULL = (
    '{"specversion":"1.0","id":"9f2c","source":"/backend","type":"phone.authorization.succeeded",'
    f'"subject":"{APP}","time":"2026-10-17T10:05:03.120Z","datacontenttype":"application/json",'
    '"data":{"capability":"quick","scene":"card_claim","store":"store-03","env":"release","client":"e7d5"}}'
)


@pytest.mark.parametrize(
    "value",
    [
        FULL,
        FULL.replace('"card_claim"', '""').replace('"e7d5"', '""'),
        FULL.replace("03.120Z", "03.120+08:00"),
        FULL.replace("/backend", "https://example.com/backend"),
        FULL.replace('"data":', '"traceparent":"00-4b","dataschema":"https://example.com/s","data":'),
        json.dumps(json.loads(FULL)),
    ],
    ids=["all fields", "empty fields", "time of Shanghai", "source with a colon", "extensions", "spaces"],
)
def test_what_producers_write_is_seen_to_be_plain_without_a_second_parser(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering.duplicate_keys.json.loads", pytest.fail)
    event = decoder.decode(value)
    assert isinstance(event, Authorization)
    assert has_unique_keys(value.encode(), event)
    assert not isinstance(read_event(value.encode(), now_ms=None), Rejection)


@pytest.mark.parametrize(
    "value",
    [
        FULL.replace('"data":', '"traceparent":"00-4b","data":'),
        FULL.replace('"data":', '"traceparent":"00-4b","tracestate":"a=b","partitionkey":"p","data":'),
        FULL.replace('"data":', '"dataschema":"https://example.com/s","data":'),
        FULL.replace('"data":', '"recordedtime":"2026-10-17T10:05:04Z","sequence":7,"data":'),
        FULL.replace("03.120Z", "03.120+08:00"),
        FULL.replace("succeeded", "denied").replace('"store"', '"errno":103,"store"'),
        FULL.replace("/backend", "https://example.com/backend").replace("e7d5", "hmac:e7d5"),
        FULL.replace('"card_claim"', '""').replace('"e7d5"', '""'),
        FULL.replace("card_claim", "会员卡"),
        FULL.replace("/backend", r"\/backend"),
        json.dumps(json.loads(FULL) | {"dataschema": "https://example.com/s"}),
    ],
    ids=[
        "traceparent",
        "several extensions",
        "dataschema",
        "time in an extension",
        "time of Shanghai",
        "denied",
        "colons in texts",
        "empty fields",
        "Chinese",
        "escaped slashes",
        "spaces",
    ],
)
def test_what_producers_write_is_read_by_counting_alone(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.event_reader.read", pytest.fail)
    monkeypatch.setattr("metering.event_reader.has_unique_keys", pytest.fail)
    records = [Record(number, at(2_000), APP.encode(), value.encode()) for number in range(500)]
    assert not any(isinstance(event, Rejection) for event in read_all(records).events)


@pytest.mark.parametrize(
    ("time", "names"),
    [
        (r"10\u003a05:03.120Z", ["scene"]),
        (r"10\u003A05\u003a03.120Z", ["scene", "store"]),
        (r"10\u003a05:03.120+08:00", ["scene"]),
    ],
)
def test_escaped_colons_of_the_time_hide_no_key_that_stands_twice(time: str, names: list[str]) -> None:
    once = FULL.replace("10:05:03.120Z", time)
    twice = once
    for name in names:
        twice = twice.replace(f'"{name}":', f'"{name}":"other","{name}":')
    values = [value.encode() for value in (once, twice)]
    records = [Record(number, at(2_000), APP.encode(), value) for number, value in enumerate(values)]
    allowed, refused = events = read_all(records).events
    assert read_all(records[1:]).events == [refused]
    assert isinstance(allowed, Authorization)
    assert isinstance(refused, Rejection)
    assert refused.reason == "doubled_key"
    assert events == [read(record) for record in records]


def doubled(text: bytes, inserted: bytes, before: bytes) -> bytes:
    return text.replace(before, inserted + before)


TAP = succeeded(at(1), scene="card_claim").replace(b'": ', b'":')


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (doubled(TAP, b'"id":"other",', b'"source"'), "id"),
        (doubled(TAP, b'"subject":"wx-other",', b'"time"'), "subject"),
        (doubled(TAP, b'"type":"phone.authorization.denied",', b'"subject"'), "type"),
        (TAP[:-1] + b',"data":{"capability":"realtime"}}', "data"),
        (doubled(TAP, b'"\\u0073cene":"x",', b'"scene"'), "scene"),
        (TAP[:-1] + b',"ext":{"a":1,"a":1}}', "a"),
        (TAP[:-1] + b',"id":3}', "id"),
    ],
    ids=["id", "subject", "type", "data", "escaped", "extension", "of another type"],
)
def test_a_doubled_key_is_refused_as_such(value: bytes, key: str) -> None:
    rejection = read_event(value, now_ms=None)
    assert isinstance(rejection, Rejection)
    assert rejection == Rejection("doubled_key", f"The key {key!r} stands twice in one object.")


@pytest.mark.parametrize("text", [b"{", b"[1,2]", b"\xff", b'{"a":"\\"}'])
def test_of_what_is_no_json_nothing_is_said(text: bytes) -> None:
    assert duplicate_key(text) is None


def test_what_is_nested_too_deeply_to_be_looked_through_is_no_event() -> None:
    deep = TAP[:-1] + b',"ext":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b',"id":"again"}'
    with pytest.raises(RecursionError):
        duplicate_key(deep)
    rejection = read_event(deep, now_ms=None)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "not_json"


def test_numbers_of_any_length_are_no_matter() -> None:
    assert duplicate_key(b'{"a":' + b"9" * 10_000 + b',"a":1,"b":"\\n"}') == "a"


def rejections(values: Sequence[bytes]) -> list[object]:
    return [read_event(value, now_ms=None) for value in values]


def test_kinds_other_than_taps_are_looked_at_as_well() -> None:
    refund = {"specversion": "1.0", "id": "r", "source": "/s", "type": "pack.refunded", "subject": APP}
    text = msgspec.json.encode(refund | {"time": text_of(at(1)), "data": {"pack_id": "p"}})
    (rejection,) = rejections([text.replace(b'"pack_id"', b'"pack_id":"q","pack_id"')])
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "doubled_key"
