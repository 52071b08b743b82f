"""The routing policy as a fact of the log (rule 20): the log alone says which policy holds."""

import json

import msgspec
import pytest
from msgspec import structs

from metering.accounts import Account, CapabilityAccount, decode_account, encode_account
from metering.event_validation import read_event
from metering.explanation import explain
from metering.rejections import Rejection
from metering.routing_policy import RoutingPolicy, StoreBudget
from tests.metering.building import (
    APP,
    Play,
    at,
    corrected,
    event,
    play,
    purchased,
    records,
    routing_set,
    succeeded,
    ticked,
)

BUDGETS = [{"calls": 100}, {"store": "store-03", "calls": 5}]


def policy_of(played: Play, capability: str = "quick") -> RoutingPolicy | None:
    account = played.state.accounts[APP]
    return (account.quick if capability == "quick" else account.realtime).routing


def policies_in_entries(played: Play) -> list[tuple[str, RoutingPolicy]]:
    return [
        (entry.capability, RoutingPolicy.from_details(json.loads(entry.details)))
        for entry in played.of("routing_set")
    ]


def test_what_an_owner_does_not_say_stays_as_it_is_and_each_entry_has_the_whole_policy() -> None:
    played = play(
        routing_set(at(1), reserve_calls=200, store_budgets=BUDGETS),
        routing_set(at(2), sms_left=0, when_stale="sms"),
        routing_set(at(3), store_budgets=[], reserve_calls=0, mode="manual"),
    )
    stores = (StoreBudget(100), StoreBudget(5, "store-03"))
    first = RoutingPolicy(reserve_calls=200, store_budgets=stores)
    second = RoutingPolicy(reserve_calls=200, store_budgets=stores, sms_left=0, when_stale="sms")
    third = RoutingPolicy(mode="manual", sms_left=0, when_stale="sms")
    assert policies_in_entries(played) == [("quick", first), ("quick", second), ("quick", third)]
    assert policy_of(played) == third


def test_each_capability_has_a_policy_of_its_own() -> None:
    played = play(routing_set(at(1), reserve_calls=1), routing_set(at(1), capability="realtime", mode="sms"))
    assert policy_of(played) == RoutingPolicy(reserve_calls=1)
    assert policy_of(played, "realtime") == RoutingPolicy(mode="sms")


def test_a_policy_that_is_set_again_by_the_same_event_is_a_duplicate() -> None:
    once = routing_set(at(1), reserve_calls=1)
    played = play(once, routing_set(at(2), reserve_calls=2), once)
    assert policy_of(played) == RoutingPolicy(reserve_calls=2)
    assert [entry.capability for entry in played.of("duplicate")] == ["quick"]


def test_a_policy_changes_nothing_of_what_calls_are_taken_from() -> None:
    calls = [purchased(at(0), "P1", calls=2), succeeded(at(1)), succeeded(at(3)), ticked(at(9))]
    with_policy = play(*calls[:2], routing_set(at(2), mode="sms", reserve_calls=9), *calls[2:])
    kinds = [entry.kind for entry in with_policy.entries if entry.kind != "routing_set"]
    assert kinds == [entry.kind for entry in play(*calls).entries]


def test_a_correction_of_a_policy_changes_nothing() -> None:
    setting = routing_set(at(1), reserve_calls=1)
    played = play(setting, corrected(at(2), json.loads(setting)["id"], void=True))
    assert policy_of(played) == RoutingPolicy(reserve_calls=1)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"store_budgets": [{"store": "a", "calls": 1}] * 2}, "data.store_budgets: expected each store once"),
        ({"store_budgets": [{"store": "13800138000", "calls": 1}]}, "data.store"),
        ({"store_budgets": [{"store": f"s{n}", "calls": 1} for n in range(101)]}, "data.store_budgets"),
        ({"reserve_calls": -1}, "data.reserve_calls"),
        ({"mode": "off"}, "data.mode"),
        ({"refusal_pause_s": 9}, "data.refusal_pause_s"),
        ({"sms_left": 1.0}, "data.sms_left"),
        ({"capability": "slow"}, "data.capability"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_policy_that_cannot_be_meant_is_refused_in_a_sentence(
    data: dict[str, object], sentence: str
) -> None:
    whole = {"capability": "quick", **data}
    rejection = read_event(event("account.routing_set", at(1), whole), now_ms=None)
    assert isinstance(rejection, Rejection)
    assert sentence in rejection.sentence


def test_an_explanation_says_whose_policy_was_set() -> None:
    played = play(succeeded(at(0)))
    (record,) = records([routing_set(at(1), capability="realtime", reserve_calls=5)], first=1)
    explanation = explain(played.state, record, played.rules)
    assert (explanation.decision, explanation.capability) == ("routing_set", "realtime")
    assert "routing policy of realtime" in explanation.why


def test_an_account_that_was_stored_before_there_were_policies_is_read_as_one_without() -> None:
    """Fields are added at the end with a default, so that no state has to be rebuilt."""
    played = play(purchased(at(0), "P1"), succeeded(at(1)))
    account = played.state.accounts[APP]
    old = msgspec.to_builtins(account)
    for name in ("quick", "realtime"):
        place = Account.__struct_fields__.index(name)
        assert CapabilityAccount.__struct_fields__[-1] == "routing"
        old[place] = old[place][:-1]
    assert decode_account(msgspec.msgpack.encode(old)) == account


def test_a_policy_comes_back_as_it_was_stored() -> None:
    played = play(routing_set(at(1), store_budgets=BUDGETS, sms_left=3, ask_known_members=True))
    account = played.state.accounts[APP]
    assert decode_account(encode_account(account)) == account


def test_the_default_policy_survives_its_own_details() -> None:
    assert RoutingPolicy.from_details(RoutingPolicy().to_details()) == RoutingPolicy()
    told = structs.replace(RoutingPolicy(), sms_left=0, store_budgets=(StoreBudget(3, "a"),))
    assert RoutingPolicy.from_details(json.loads(msgspec.json.encode(told.to_details()))) == told
