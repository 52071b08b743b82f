"""Reading a batch gives the same as reading its records one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.event_reader import read, read_all
from metering.events import AuthorizationData
from metering.records import Record
from metering.rejections import Rejection
from metering.times import to_ms
from tests.metering.building import APP, at, event, purchased, succeeded, ticked

NOW_MS = at(30)

keys = st.sampled_from([APP.encode(), b"13800138000", b"", None, b"clock"])
times_ms = st.sampled_from([NOW_MS, NOW_MS + 1, at(0), None])
clients = st.sampled_from(
    [
        "",
        "e7d524b842e625e2",
        "13800138000",
        "+86 138-0013-8000",
        "1380013800a",
        "次" * 12,
        "１３８００１３８０００",
        "A-Z 0-9 a-z.",
        "tel:13800138000",
        "9f2c" * 7 + "x13800138000y" + "9f2c" * 5,
        "9f2c" * 16,
        "13800138000-abcde",
        "550e8400-e29b-41d4-a716-446655440000",
        "oGZUI0egBJY1zhBYw2KhdUfwVJJE",
        "code:13800138000",
        "code:13800138000x",
        "a\tb",
    ]
)
fields = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("scene", "store", "env", "event_id"), clients),
)
values = st.one_of(
    st.builds(
        lambda time_ms, client, fields, app: succeeded(time_ms, client=client, app=app, **fields),
        st.sampled_from([at(1), at(40), at(-9_000)]),
        clients,
        fields,
        st.sampled_from([APP, "wx other", "", "w" * 65, "13800138000", "tel13800138000"]),
    ),
    st.just(purchased(at(1), "pack-1")),
    st.just(ticked(at(1))),
    st.just(event("phone.authorization.succeeded", at(1), {"capability": "slow"})),
    st.just(succeeded(at(1), store="x" * 100_000)),
    st.just(succeeded(at(1)).replace(b"quick", b"qu\xffck")),
    st.just(succeeded(at(1)).replace(b'"data"', b'"extra":"\xff","data"')),
    st.just(event("phone.authorization.succeeded", at(1), {"capability": "quick"}, extra="x" * 70_000)),
    st.just(None),
    st.binary(max_size=20),
    st.just(b"[" * 100_000),
)


@given(
    records=st.lists(st.builds(lambda *fields: Record(0, *fields), times_ms, keys, values), max_size=8),
    known=st.sampled_from([(), (APP,), ("wx-other",)]),
)
def test_a_batch_is_read_as_its_records_are_one_by_one(records: list[Record], known: tuple[str, ...]) -> None:
    events = [read(record) for record in records]
    times_ms = [0 if isinstance(event, Rejection) else to_ms(event.time) for event in events]
    assert read_all(records, known) == (events, times_ms)


def test_a_batch_of_plain_events_is_read_to_events() -> None:
    records = [Record(number, NOW_MS, APP.encode(), succeeded(at(1))) for number in range(3)]
    assert not any(isinstance(event, Rejection) for event in read_all(records).events)


WORDS = [name for name in AuthorizationData.__struct_fields__ if name not in {"capability", "calls"}]


@pytest.mark.parametrize("known", [(), (APP,)])
@pytest.mark.parametrize("field", WORDS)
def test_a_phone_number_in_any_word_of_a_batch_is_found(field: str, known: tuple[str, ...]) -> None:
    records = [
        Record(number, NOW_MS, APP.encode(), succeeded(at(1), **{field: phone}))
        for number, phone in enumerate(("13800138000", "store-1", "138 0013 8000"))
    ]
    first, between, last = read_all(records, known).events
    assert not isinstance(between, Rejection)
    assert [isinstance(event, Rejection) and event.reason for event in (first, last)] == ["phone_number"] * 2


def batch_of(*values: bytes) -> list[Record]:
    return [Record(number, NOW_MS, APP.encode(), value) for number, value in enumerate(values)]


BESIDE = event("phone.authorization.succeeded", at(1), {"capability": "quick"}, extra="x")


@pytest.mark.parametrize(
    "value",
    [
        succeeded(at(1), event_id="tap-13800138000"),
        succeeded(at(1), event_id="oGZUI0egBJY1zhBYw2KhdUfwVJJE"),
        succeeded(at(1), client="13800138000"),
        succeeded(at(1), client="a b"),
        succeeded(at(1)).replace(b"member", b"m\xffmber").replace(b'"data"', b'"extra":"\xff","data"'),
        BESIDE.replace(b'"x"', b'"\xff"'),
        succeeded(at(1)).replace(b'"capability"', b'"mobile":"none","capability"'),
        succeeded(at(1)).replace(b'"capability"', b'"mob\\u0069le":null,"capability"'),
        succeeded(at(1)).replace(b'"capability"', b'"user":[{"wxOpenId":1}],"capability"'),
        succeeded(at(1)).replace(b'"data"', b'"user_tel":"x","data"'),
        BESIDE.replace(b'"extra"', b'"tel"'),
    ],
    ids=[
        "phone in id",
        "openid in id",
        "phone in client",
        "space in client",
        "no UTF-8",
        "nor where skipped",
        "field for a phone number",
        "the same, escaped",
        "field for an openid, deeper",
        "attribute for a phone number",
        "in the place of an extension",
    ],
)
@pytest.mark.parametrize("before", [(), (BESIDE, BESIDE)], ids=["alone", "after extensions"])
def test_what_is_odd_in_one_event_of_a_batch_is_found(value: bytes, before: tuple[bytes, ...]) -> None:
    records = batch_of(*before, value, succeeded(at(1)))
    events = read_all(records).events
    assert events == [read(record) for record in records]
    assert [isinstance(event, Rejection) for event in events] == [*(False for _ in before), True, False]
