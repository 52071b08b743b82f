"""The view `routing`: the policy in force, which is the one that the state of the stream has (rule 20)."""

from metering.routing_policy import DEFAULT_POLICY, RoutingPolicy
from tests.dashboards.conftest import Ledger
from tests.metering.building import APP, at, play, purchased, routing_set

POLICIES = f"SELECT appid, capability, {', '.join(RoutingPolicy.__struct_fields__)} FROM routing"  # noqa: S608 - our own names


def policies(kept: Ledger) -> dict[tuple[str, str], RoutingPolicy]:
    rows = kept.query(POLICIES)
    found = {}
    for appid, capability, *values in rows:
        details = dict(zip(RoutingPolicy.__struct_fields__, values, strict=True))
        details["store_budgets"] = [
            {"store": store, "calls": calls} for store, calls in details["store_budgets"].items()
        ]
        found[appid, capability] = RoutingPolicy.from_details(details)
    return found


def test_the_newest_policy_of_each_capability_is_in_force_and_else_the_default(kept: Ledger) -> None:
    played = play(
        purchased(at(0), "P2"),
        purchased(at(0), "P1", app="wx-other"),
        routing_set(at(1), reserve_calls=200, sms_left=0, store_budgets=[{"calls": 9}]),
        routing_set(
            at(2),
            mode="sms",
            lead_minutes=60,
            ask_known_members=True,
            when_stale="wechat",
            refusal_pause_s=60,
            store_budgets=[{"calls": 100}, {"store": "store-03", "calls": 0}],
        ),
        routing_set(at(1), capability="realtime", reserve_calls=1),
    )
    kept.replace(played.entries)
    account = played.state.accounts[APP]
    assert account.quick.routing is not None
    assert account.quick.routing.sms_left == 0
    assert policies(kept) == {
        (APP, "quick"): account.quick.routing,
        (APP, "realtime"): account.realtime.routing,
        ("wx-other", "quick"): DEFAULT_POLICY,
        ("wx-other", "realtime"): DEFAULT_POLICY,
    }


def test_it_says_when_a_policy_was_set(kept: Ledger) -> None:
    kept.replace(play(purchased(at(0), "P1"), routing_set(at(2), mode="manual")).entries)
    found = kept.query("SELECT capability, toUnixTimestamp64Milli(set_at) FROM routing ORDER BY capability")
    assert found == [("quick", at(2)), ("realtime", None)]
