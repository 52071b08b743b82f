"""The short cut of checking says of an event what checking in full says."""

import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.events import AnyEvent
from metering.rejections import Rejection
from producers.event_check import check, check_in_full
from producers.simulate import TrafficPlan, simulate

NOW_MS = 1_800_000_000_000
START_MS = 1_772_380_800_000

TEXTS = st.one_of(
    st.sampled_from(
        ["", "quick", "realtime", "13800138000", "+86 138-0013-8000", "(0086)13800138000", "a" * 65, "领卡"]
    ),
    st.sampled_from(
        ["/backend", "wxapp1", "1.0", "application/json", "text/plain", "１３８００１３８０００"]
    ),
    st.from_regex(r"[0-9a-f]{16,64}", fullmatch=True),
    st.text(max_size=30),
)
TIMES = st.sampled_from(
    [
        "2026-10-17T10:05:03.120Z",
        "2026-10-17T18:05:03+08:00",
        "2016-01-01T00:00:00Z",
        "2099-01-01T00:00:00Z",
        "noon",
    ]
)
TYPES = st.sampled_from(
    [
        *(f"phone.authorization.{outcome}" for outcome in ("succeeded", "denied", "failed")),
        "pack.refunded",
        "clock.ticked",
        "phone.number.sold",
    ]
)
ANYTHING = st.one_of(
    TEXTS, st.integers(), st.floats(allow_nan=False), st.none(), st.dictionaries(TEXTS, TEXTS)
)
DATA = st.fixed_dictionaries(
    {"capability": st.sampled_from(["quick", "realtime", "slow"])},
    optional={
        **dict.fromkeys(("scene", "store", "env", "client", "pack_id"), TEXTS),
        "errno": st.one_of(st.integers(), st.sampled_from([103, 1400001, 13800138000])),
        "purePhoneNumber": TEXTS,
        "more": ANYTHING,
    },
)
EVENTS = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": TEXTS,
        "source": TEXTS,
        "type": TYPES,
        "subject": st.sampled_from(["wxapp1", "13800138000", "wx fb", "clock"]),
        "time": TIMES,
        "data": DATA,
    },
    optional={"datacontenttype": TEXTS, "openid": TEXTS, "traceparent": ANYTHING},
)


def as_said(checked: AnyEvent | Rejection) -> object:
    return checked if isinstance(checked, Rejection) else msgspec.to_builtins(checked)


def same(value: bytes) -> bool:
    return as_said(check(value, now_ms=NOW_MS)) == as_said(check_in_full(value, now_ms=NOW_MS))


@given(EVENTS)
def test_the_short_cut_agrees_with_checking_in_full(event: dict[str, Any]) -> None:
    assert same(json.dumps(event).encode())
    assert same(json.dumps(event, ensure_ascii=False).encode(errors="surrogatepass"))


@given(st.binary(max_size=60))
def test_it_agrees_about_what_is_no_event_at_all(value: bytes) -> None:
    assert same(value)


def test_it_agrees_about_traffic() -> None:
    plan = TrafficPlan(start_ms=START_MS, duration_ms=86_400_000, taps=500)
    assert all(same(arrival.value) for arrival in simulate(plan))


@pytest.mark.parametrize("field", ["id", "source", "subject"])
def test_a_phone_number_is_found_in_every_field_of_an_event(field: str) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/backend",
        "type": "phone.authorization.succeeded",
        "subject": "wxapp1",
        "time": "2026-10-17T10:05:03.120Z",
        "data": {"capability": "quick"},
    }
    checked = check(json.dumps(event | {field: "13800138000"}).encode(), now_ms=NOW_MS)
    assert isinstance(checked, Rejection)
    assert checked.reason == "phone_number"


@pytest.mark.parametrize("field", ["scene", "store", "env", "client"])
def test_a_phone_number_is_found_in_every_field_of_a_tap(field: str) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/backend",
        "type": "phone.authorization.denied",
        "subject": "wxapp1",
        "time": "2026-10-17T10:05:03.120Z",
        "data": {"capability": "quick", field: "+86 138-0013-8000"},
    }
    checked = check(json.dumps(event).encode(), now_ms=NOW_MS)
    assert isinstance(checked, Rejection)
    assert checked.reason == "phone_number"


@pytest.mark.parametrize("kind", ["succeeded", "denied"])
@pytest.mark.parametrize("more", [{}, {"traceparent": "x"}])
@pytest.mark.parametrize("code", ["", "None", "null", "undefined"])
def test_an_id_that_was_made_of_no_code_is_refused(code: str, more: dict[str, str], kind: str) -> None:
    event = {
        "specversion": "1.0",
        "id": hashlib.sha256(f"wxapp1:{code}".encode()).hexdigest(),
        "source": "/backend",
        "type": f"phone.authorization.{kind}",
        "subject": "wxapp1",
        "time": "2026-10-17T10:05:03.120Z",
        "data": {"capability": "quick"},
    }
    checked = check(json.dumps(event | more).encode(), now_ms=NOW_MS)
    assert isinstance(checked, Rejection)
    assert checked.reason == "invalid_field"
    assert checked.sentence.startswith("id: it was made of a code that is empty, None, null or undefined")
    assert not isinstance(
        check(json.dumps({**event, "subject": "wxapp2"}).encode(), now_ms=NOW_MS), Rejection
    )
