"""Fields with forbidden names are rejected, by the worker as by the client."""

import base64
import json

import pytest

from metering.event_reader import read_all
from metering.event_validation import read_event
from metering.forbidden_fields import forbidden_field_in, is_forbidden_field
from metering.rejections import Rejection
from producers.event_check import check
from tests.metering.building import at, event
from tests.metering.test_event_reader import batch_of

NAMES = ["mobile", "phone", "userTel", "wx_open_id", "session_key", "用户手机号", "PHONE_NUMBER"]


def with_field(name: str, value: object = "none") -> bytes:
    return event("phone.authorization.succeeded", at(1), {"capability": "quick", name: value})


@pytest.mark.parametrize("name", NAMES)
def test_what_the_client_refuses_by_its_name_the_worker_refuses_with_the_same_words(name: str) -> None:
    by_client = check(with_field(name), now_ms=None)
    assert isinstance(by_client, Rejection)
    assert by_client.reason == "phone_number"
    assert read_event(with_field(name), now_ms=None) == by_client
    # Also after other fields of the source were learned.
    others = [with_field("trace"), with_field("trace"), with_field(name), with_field("trace")]
    *_, refused, last = read_all(batch_of(*others)).events
    assert refused == by_client
    assert not isinstance(last, Rejection)


@pytest.mark.parametrize("name", ["hotel", "phone_model", "trace", "门店"])
def test_other_fields_that_the_format_does_not_know_are_passed_over(name: str) -> None:
    assert not is_forbidden_field(name)
    assert not isinstance(read_event(with_field(name), now_ms=None), Rejection)


def test_a_purchase_is_refused_for_such_a_field_as_well() -> None:
    about = {"name": "Members", "entity_type": "company", "contactMobile": "none"}
    refused = read_event(event("account.registered", at(1), about), now_ms=None)
    assert isinstance(refused, Rejection)
    assert refused.sentence.startswith("data.contactMobile may not enter; ")


def test_a_field_in_base64_is_found() -> None:
    outer = json.loads(with_field("trace"))
    inner = base64.b64encode(json.dumps({"capability": "quick", "mobile": 1}).encode()).decode()
    del outer["data"]
    refused = read_event(json.dumps(outer | {"data_base64": inner}).encode(), now_ms=None)
    assert isinstance(refused, Rejection)
    assert refused.reason == "phone_number"


def test_a_name_that_is_itself_a_number_is_not_repeated() -> None:
    refused = read_event(with_field("13800138000", {"mobile": 1}), now_ms=None)
    assert isinstance(refused, Rejection)
    assert "13800138000" not in refused.sentence


def test_the_place_of_a_field_is_told_at_any_depth_and_of_no_json_nothing() -> None:
    assert forbidden_field_in(b'{"data":{"users":[{"a":1},{"tel":2}]}}') == "data.users[1].tel"
    assert forbidden_field_in(b"{") is None
    assert forbidden_field_in(b"[" * 100_000) is None
