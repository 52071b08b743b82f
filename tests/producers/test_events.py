"""Builders of events: ids, hashes, and what they refuse."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.event_validation import read_event
from metering.events import Succeeded
from metering.rejections import Rejection
from producers import events
from producers.errors import RefusedError
from producers.events import CloudEvent

TIME = datetime(2026, 10, 17, 10, 5, 3, 120_000, UTC)
APPID = "wxfb1f3d218d111092"
KEY = b"a key of sixteen bytes or more"


def succeeded(**changes: Any) -> CloudEvent:  # noqa: ANN401 - any argument of the builder
    arguments: dict[str, Any] = {"appid": APPID, "code": "code-1", "capability": "quick", "time": TIME}
    return events.authorization_succeeded(**arguments | changes)


ONE_OF_EACH = [
    succeeded(scene="card_claim", store="store-03", client="e7d524b842e625e2"),
    events.authorization_decrypted(appid=APPID, tap="encrypted-1", capability="quick", time=TIME),
    events.authorization_denied(appid=APPID, capability="quick", time=TIME),
    events.authorization_failed(appid=APPID, capability="realtime", time=TIME, errno=1_400_001),
    events.pack_purchased(
        appid=APPID,
        pack_id="p1",
        capability="quick",
        calls=500_000,
        validity_days=365,
        price_micro_yuan=15_000_000_000,
        paid_at=TIME,
        starts_at=TIME,
    ),
    *(
        events.pack_assigned(
            appid=APPID,
            pack_id="p1",
            capability="quick",
            calls=500_000,
            validity_days=365,
            price_micro_yuan=15_000_000_000,
            assigned_at=at,
        )
        for at in (TIME, TIME - timedelta(days=1))
    ),
    events.pack_assignment_cancelled(appid=APPID, pack_id="p1", time=TIME),
    events.pack_assignment_cancelled(appid=APPID, pack_id="p1", time=TIME, by="platform"),
    events.account_migrated(appid=APPID, to="wx-new", time=TIME),
    events.account_opened(appid=APPID, trial_used=1_000, time=TIME),
    events.account_opened(appid=APPID, trial_used=400, capability="quick", time=TIME),
    events.pack_refunded(appid=APPID, pack_id="p1", time=TIME),
    events.pack_refunded(appid=APPID, pack_id="p1", time=TIME, by="platform"),
    events.fact_corrected(appid=APPID, event_id="event-1", time=TIME, void=True),
    events.fact_corrected(
        appid=APPID, event_id="event-1", time=TIME, changed={"calls": 250, "paid_at": TIME}, note="a typo"
    ),
    events.account_registered(appid=APPID, entity_type="government", time=TIME, name="市政府"),
    events.account_alerting_set(
        appid=APPID,
        time=TIME,
        levels_percent=(50,),
        run_out_lead_days=3,
        burn_minute_calls=9,
        burn_client_calls=9,
        burn_percent=200,
    ),
    events.account_agreement_set(appid=APPID, policy="follow", time=TIME),
    events.account_routing_set(
        appid=APPID,
        capability="quick",
        time=TIME,
        mode="balance",
        reserve_calls=200,
        lead_minutes=60,
        sms_left=9,
        ask_known_members=True,
        store_budgets={"": 100, "store-03": 5},
        when_stale="wechat",
        refusal_pause_s=60,
    ),
    events.account_routing_set(appid=APPID, capability="realtime", time=TIME, mode="sms"),
    events.account_charge_notice_requested(
        appid=APPID,
        capability="quick",
        monthly_calls_max=100,
        price_min_micro_yuan=26_000,
        price_max_micro_yuan=30_000,
        charged_from=TIME,
        time=TIME,
        name="会员中心",
    ),
    events.usage_observed(appid=APPID, capability="quick", time=TIME, used=7, size=250, pack_id="p1"),
    events.clock_ticked(time=TIME),
]


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: str(event["type"]))
def test_what_a_builder_gives_is_what_the_metering_reads(event: CloudEvent) -> None:
    read = read_event(events.to_json(event), now_ms=None)
    assert not isinstance(read, Rejection)
    assert read.id == event["id"]


def test_every_builder_gives_another_id() -> None:
    assert len({event["id"] for event in ONE_OF_EACH}) == len(ONE_OF_EACH)


def test_a_call_without_a_code_is_told_by_its_source_and_recognised_when_it_is_sent_again() -> None:
    told = [
        events.authorization_decrypted(
            appid=APPID, tap="encrypted-1", capability="quick", time=TIME, source=source
        )
        for source in ("/backend/till", "/backend/till/legacy")
    ]
    assert told[0] == told[1]
    assert told[0]["source"] == "/backend/till/legacy"
    assert "encrypted-1" not in str(told)
    with pytest.raises(RefusedError):
        events.authorization_decrypted(appid=APPID, tap="", capability="quick", time=TIME)


def test_a_correction_that_is_built_again_is_the_same_and_one_of_other_fields_another() -> None:
    def id_of(**told: Any) -> str:  # noqa: ANN401 - any argument of the builder
        return str(events.fact_corrected(appid=APPID, event_id="event-1", time=TIME, **told)["id"])

    assert id_of(changed={"calls": 1, "store": "s"}) == id_of(changed={"store": "s", "calls": 1}, note="why")
    assert len({id_of(changed={"calls": 1}), id_of(changed={"calls": 2}), id_of(void=True)}) == 3
    assert id_of(void=True, correction_id="mine") == "mine"


@pytest.mark.parametrize(
    "told",
    [{}, {"void": True, "changed": {"calls": 1}}, {"changed": {"errno": 1}}, {"changed": {"calls": 0}}],
)
def test_a_correction_that_says_nothing_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        events.fact_corrected(appid=APPID, event_id="event-1", time=TIME, **told)


def test_the_id_is_the_sha256_of_appid_colon_code() -> None:
    assert succeeded()["id"] == hashlib.sha256(b"wxfb1f3d218d111092:code-1").hexdigest()


@given(st.text(min_size=1), st.text(min_size=1))
def test_one_code_is_one_id_and_another_code_another(code: str, other: str) -> None:
    assert events.event_id(APPID, code) == events.event_id(APPID, code)
    assert (events.event_id(APPID, code) == events.event_id(APPID, other)) == (code == other)


def test_names_are_kept_apart_in_an_id() -> None:
    assert events.named_id("a", "bc") != events.named_id("ab", "c") != events.named_id("abc")
    assert events.named_id("pack.purchased", APPID, "p1") == (
        hashlib.sha256(b"pack.purchased\nwxfb1f3d218d111092\np1").hexdigest()
    )


def test_the_code_itself_does_not_travel() -> None:
    assert b"code-1" not in events.to_json(succeeded())


def test_two_denied_taps_without_a_name_are_two_events() -> None:
    first, second = (
        events.authorization_denied(appid=APPID, capability="quick", time=TIME) for _ in range(2)
    )
    assert first["id"] != second["id"]


def test_a_named_denied_tap_can_be_built_again() -> None:
    first, second = (
        events.authorization_denied(appid=APPID, capability="quick", time=TIME, tap="tap-9") for _ in range(2)
    )
    assert first == second


def test_a_time_keeps_its_moment_and_its_milliseconds() -> None:
    read = read_event(events.to_json(succeeded()), now_ms=None)
    assert isinstance(read, Succeeded)
    assert read.time == TIME


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(RefusedError, match="has no time zone"):
        succeeded(time=TIME.replace(tzinfo=None))


def test_float_money_is_refused() -> None:
    with pytest.raises(RefusedError, match="price_micro_yuan"):
        events.pack_purchased(
            appid=APPID,
            pack_id="p1",
            capability="quick",
            calls=250,
            validity_days=90,
            price_micro_yuan=7.5,  # type: ignore[arg-type] # what a careless caller would pass
            paid_at=TIME,
        )


def test_an_unknown_capability_is_refused() -> None:
    with pytest.raises(RefusedError, match="capability"):
        succeeded(capability="slow")


@given(st.text(min_size=1))
def test_a_client_hash_is_sixteen_digits_that_tell_users_apart(openid: str) -> None:
    hashed = events.client_hash(openid, KEY)
    assert len(hashed) == 16
    assert int(hashed, 16) >= 0
    assert hashed == events.client_hash(openid, KEY)
    assert hashed != events.client_hash(openid + "x", KEY)
    assert hashed != events.client_hash(openid, KEY + b"x")


def test_a_short_key_protects_nobody_and_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 random bytes"):
        events.client_hash("openid", b"short")


def test_a_client_hash_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the user's openid"):
        events.client_hash("", KEY)


@pytest.mark.parametrize("code", ["", " ", "\t\n", "None", "null", "undefined", None, 7])
def test_a_tap_without_a_code_is_refused_in_a_sentence(code: Any) -> None:  # noqa: ANN401 - as back ends call it
    with pytest.raises(RefusedError) as refused:
        succeeded(code=code)
    assert refused.value.rejection.reason == "invalid_field"
    assert str(refused.value).startswith(f"code is {code!r}, and all taps without a code would be one call")


@pytest.mark.parametrize(
    "field", [{"client": "13800138000"}, {"store": "+8613800138000"}, {"scene": "138-0013-8000"}]
)
def test_a_phone_number_is_refused_wherever_it_stands(field: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match="looks like a phone number") as refused:
        succeeded(**field)
    assert refused.value.rejection.reason == "phone_number"
