"""Reading a batch at once gives what reading its records one by one gives."""

from hypothesis import given
from hypothesis import strategies as st

from metering.events import Rejection
from metering.partition import Record
from metering.reading import read, read_all
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
        st.sampled_from([APP, "wx other", "", "w" * 65, "13800138000"]),
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
