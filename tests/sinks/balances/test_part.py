"""Decisions and holds over HTTP, from a memory that the tests write."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from metering.times import MINUTE_MS
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.holds import HoldStore
from producers.gateway.openapi import document
from tests.producers.gateway.parts import BATCHED, Answer, Door, opened, tap
from tests.sinks.balances.parts import APP, NOW_MS, desk

REFUSED = 1_400_001
ROUTE = f"/v1/apps/{APP}/route"
HOLDS = f"/v1/apps/{APP}/holds"


async def asked(door: Door, query: str = "capability=quick", **headers: str) -> Answer:
    return await door.request("GET", f"{ROUTE}?{query}", headers=headers)


async def held(door: Door, body: object = None, **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return await door.request("POST", HOLDS, io.BytesIO(sent), given)


async def test_a_member_is_sent_to_wechat_while_calls_are_left_and_to_a_short_message_at_zero() -> None:
    at = desk()
    at.log.buy("P", 2)
    async with opened(parts=[at.part], scopes=["read"]) as door:
        before = await asked(door)
        at.log.charge(calls=2)
        after = await asked(door)
    assert before.body["route"] == "wechat"
    assert (before.body["reason"], before.body["left"], before.body["degraded"]) == ("enough", 2, False)
    assert (after.body["route"], after.body["reason"], after.body["left"]) == ("sms", "used_up", 0)
    assert before.body["as_of"] == "2027-01-15T08:00:00.000Z"


async def test_the_answer_says_for_how_long_it_may_be_kept() -> None:
    at = desk()
    at.log.buy("P", 1_000_000)
    async with opened(parts=[at.part], scopes=["emit"]) as door:
        kept = await asked(door)
        at.log.charge(calls=999_999)
        last = await asked(door)
    assert kept.headers["cache-control"] == f"private, max-age={kept.body['holds_for_ms'] // 1_000}"
    assert kept.body["holds_for_ms"] >= 1_000
    assert last.headers["cache-control"] == "private, max-age=0"


async def test_a_refusal_by_the_platform_flips_the_answer_at_once() -> None:
    at = desk()
    at.log.buy("P", 1_000)
    async with opened(parts=[at.part], scopes=["read"]) as door:
        assert (await asked(door)).body["route"] == "wechat"
        at.log.add("failed", errno=REFUSED)
        refused = await asked(door)
    assert (refused.body["route"], refused.body["reason"]) == ("sms", "platform_refused")


async def test_the_platforms_own_count_is_what_will_be_granted() -> None:
    at = desk()
    at.log.buy("P", 1_000)
    at.log.add("usage_observed", pack_id="P", details=json.dumps({"used": 999, "size": 1_000}))
    async with opened(parts=[at.part], scopes=["read"]) as door:
        told = await asked(door)
        # The same call at the platform and here; one from before the count is in it.
        at.log.charge(time_ms=NOW_MS - 1)
        same = await asked(door)
        at.log.charge(time_ms=NOW_MS + 1)
        after = await asked(door)
    assert [each.body["left"] for each in (told, same, after)] == [1, 1, 0]
    assert after.body["reason"] == "used_up"


async def test_a_known_member_is_not_asked_again() -> None:
    at = desk()
    at.log.buy("P", 1_000)
    async with opened(parts=[at.part], scopes=["read"]) as door:
        known = await asked(door, "known=true")
    assert (known.body["route"], known.body["reason"], known.body["holds_for_ms"] > 0) == (
        "manual",
        "known_member",
        True,
    )


async def test_the_sentence_is_in_the_language_that_is_asked_for() -> None:
    at = desk()
    at.log.buy("P", 1_000)
    async with opened(parts=[at.part], scopes=["read"]) as door:
        chinese = await asked(door, **{"accept-language": "zh-CN,zh;q=0.9"})
    assert chinese.body["sentence"] == "剩余次数充足。"


async def test_without_a_memory_and_without_the_app_the_answer_says_that_nothing_is_known() -> None:
    away, empty = desk(known=False), desk()
    for at, status in ((away, 503), (empty, 404)):
        async with opened(parts=[at.part], scopes=["read", "emit"]) as door:
            answer = await asked(door)
            refused = await held(door)
        assert (answer.status, answer.body["reason"], answer.body["degraded"]) == (200, "not_known", True)
        assert answer.body["as_of"] is None
        assert refused.status == status
    assert "not been read yet" in " ".join(away.part.troubles())


async def test_what_is_out_of_date_is_said_and_no_call_is_held_by_it() -> None:
    at = desk(NOW_MS + MINUTE_MS + 1)
    at.log.buy("P", 1_000)
    at.log.memory._as_of_ms[0] = NOW_MS
    async with opened(parts=[at.part], scopes=["read", "emit"]) as door:
        answer, refused = await asked(door), await held(door)
    assert (answer.body["degraded"], answer.body["as_of"]) == (True, "2027-01-15T08:00:00.000Z")
    assert refused.problem == "unavailable"
    assert at.source.holds == {}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("capability=sms", "capability: quick or realtime."),
        (f"store={65 * 'x'}", "store: at most 64 characters."),
        ("known=1", "known: true or false."),
        (f"x={1_024 * 'x'}", "The query has at most 1024 bytes."),
    ],
    ids=["capability", "store", "known", "too long"],
)
async def test_a_question_that_makes_no_sense_is_a_problem(query: str, sentence: str) -> None:
    async with opened(parts=[desk().part], scopes=["read"]) as door:
        answer = await asked(door, query)
    assert (answer.problem, answer.body["detail"]) == ("malformed", sentence)


async def test_calls_that_others_hold_are_not_promised_to_anybody_else() -> None:
    at = desk()
    at.log.buy("P", 2)
    async with opened(parts=[at.part], scopes=["read", "emit"]) as door:
        granted = [await held(door, {"store": "store-03", "seconds": 30}) for _ in range(3)]
        await at.desk.exchange()
        answer = await asked(door)
        released = await door.request("DELETE", f"{HOLDS}/{granted[0].body['id']}")
        again = await door.request("DELETE", f"{HOLDS}/{granted[0].body['id']}")
        await at.desk.exchange()
        one = await held(door)
    assert [each.status for each in granted] == [201, 201, 409]
    assert granted[0].body["expires_at"] == "2027-01-15T08:00:30.000Z"
    assert granted[2].body["detail"] == "All calls above the owner's reserve are held by others."
    assert (answer.body["route"], answer.body["left"], answer.body["held"]) == ("sms", 2, 2)
    assert (released.status, again.problem, one.status) == (204, "not_found", 201)


async def test_an_event_confirms_its_hold_which_counts_until_the_balance_has_the_call() -> None:
    at = desk()
    at.log.buy("P", 1)
    async with opened(parts=[at.part], scopes=["emit", "read"], holds=at.part) as door:
        hold_id = (await held(door)).body["id"]
        await door.post(tap("t-1", data={"capability": "quick", "hold": hold_id}))
        assert door.publisher.calls == 1
        assert at.source.holds[hold_id].event_id == "t-1"
        assert (await door.request("DELETE", f"{HOLDS}/{hold_id}")).problem == "conflict"
        assert set(at.desk.event_ids) == {"t-1"}
        await at.desk.exchange()
        assert (await asked(door)).body["held"] == 1
        at.log.awaited = set(at.desk.event_ids)
        offset = at.log.charge(event_id="t-1")
        at.desk.seen(*at.log.seen[0])
        await at.desk.exchange()
        answer = await asked(door)
    assert at.source.holds[hold_id].seen_offset == offset
    assert (answer.body["left"], answer.body["held"], at.desk.event_ids) == (0, 0, {})


async def test_a_denial_releases_its_hold_and_an_event_of_another_app_or_a_made_up_hold_ends_none() -> None:
    at = desk()
    at.log.buy("P", 9)
    async with opened(parts=[at.part], scopes=["emit"], holds=at.part) as door:
        mine, other = [(await held(door)).body["id"] for _ in range(2)]
        events = [
            tap("t-1", type="phone.authorization.denied", data={"capability": "quick", "hold": mine}),
            tap("t-2", "wx0000000000000001", data={"capability": "quick", "hold": other}),
            tap("t-3", data={"capability": "quick", "hold": 24 * "0"}),
            tap("t-4", data={"capability": "quick", "hold": {"id": other}}),
        ]
        answer = await door.post(events, BATCHED)
    assert answer.outcomes == 4 * ["accepted"]
    assert set(at.source.holds) == {other}
    assert at.source.holds[other].event_id is None


async def test_events_are_taken_while_the_business_database_is_away_and_holds_are_not() -> None:
    at = desk()
    at.log.buy("P", 9)
    async with opened(parts=[at.part], scopes=["emit"], holds=at.part) as door:
        hold_id = (await held(door)).body["id"]
        at.source.away = True
        refused = await held(door)
        taken = await door.post(tap("t-1", data={"capability": "quick", "hold": hold_id}))
        released = await door.request("DELETE", f"{HOLDS}/{hold_id}")
        await at.desk.exchange()
    assert (taken.status, taken.outcomes) == (200, ["accepted"])
    assert (refused.problem, released.problem) == ("unavailable", "unavailable")
    assert "The business database is away." in at.part.troubles()


async def test_the_same_idempotency_key_gets_the_same_hold() -> None:
    at = desk()
    at.log.buy("P", 9)
    async with opened(parts=[at.part], scopes=["emit"]) as door:
        first, second = [await held(door, idempotency_key="order-7") for _ in range(2)]
        bad = await held(door, idempotency_key="order 7")
    assert first.body == second.body
    assert len(at.source.holds) == 1
    assert bad.problem == "malformed"


async def test_two_gateways_at_once_hold_exactly_the_calls_that_are_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/business.sqlite"
    with BusinessDatabase(url) as one, BusinessDatabase(url) as other:
        first, second = (desk(shared=HoldStore(each)) for each in (one, other))
        for at in (first, second):
            at.log.buy("P", 12)
            at.log.charge(calls=5)
        async with (
            opened(parts=[first.part], scopes=["emit"]) as door,
            opened(parts=[second.part], scopes=["emit"]) as other_door,
        ):
            asking = [held(each) for _ in range(25) for each in (door, other_door)]
            answers = await asyncio.gather(*asking)
            await second.desk.exchange()
        assert sorted(each.status for each in answers) == 7 * [201] + 43 * [409]
        assert second.desk.held(APP, ("quick",)) == 7


async def test_the_owners_policy_decides_as_soon_as_it_is_in_the_ledger() -> None:
    at = desk()
    at.log.buy("P", 10)
    async with opened(parts=[at.part], scopes=["emit", "read"]) as door:
        assert (await asked(door)).body["reason"] == "enough"
        at.log.add("routing_set", details=json.dumps({"mode": "balance", "reserve_calls": 9}))
        above = await asked(door)
        holds = [await held(door) for _ in range(2)]
        at.log.charge()
        reserved = await asked(door)
        at.log.add(
            "routing_set",
            details=json.dumps({"reserve_calls": 0, "store_budgets": [{"store": "store-03", "calls": 1}]}),
        )
        at.log.charge(store="store-03")
        spent = await asked(door, "store=store-03")
        no_more = await held(door, {"store": "store-03"})
        other = await asked(door, "store=store-04")
        at.log.add("routing_set", details=json.dumps({"mode": "manual"}))
        fixed = await asked(door)
    assert above.body["route"] == "wechat"
    assert [each.status for each in holds] == [201, 409]
    assert (reserved.body["reason"], spent.body["reason"], other.body["reason"]) == (
        "reserve_reached",
        "store_budget_spent",
        "enough",
    )
    assert no_more.body["detail"] == "The store has spent its budget of today (Shanghai)."
    assert (fixed.body["route"], fixed.body["reason"]) == ("manual", "set_by_owner")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"seconds": 301}, "The body is no request for a hold"),
        ({"second": 5}, "The body is no request for a hold"),
        (b"{", "The body is no request for a hold"),
        ({"store": "13800138000"}, "store: it is a name of yours, not a phone number"),
        (b" " * 4_097, "A request for a hold has at most 4,096 bytes."),
    ],
    ids=["too long", "misspelt", "no JSON", "phone number", "too large"],
)
async def test_a_hold_that_cannot_be_is_a_problem(body: Any, sentence: str) -> None:  # noqa: ANN401
    at = desk()
    at.log.buy("P", 9)
    async with opened(parts=[at.part], scopes=["emit"]) as door:
        answer = await held(door, body)
    assert answer.status in {400, 413}
    assert answer.body["detail"].startswith(sentence)
    assert at.source.holds == {}


async def test_a_key_that_may_only_read_holds_nothing() -> None:
    async with opened(parts=[desk().part], scopes=["read"]) as door:
        assert (await held(door)).problem == "scope_missing"


def test_decisions_are_counted_by_route_and_reason() -> None:
    at = desk()
    at.metrics.decided("wechat", "enough")
    at.metrics.decided("wechat", "enough")
    assert at.metrics.decisions.labels("wechat", "enough")._value.get() == 2


async def test_answers_are_as_the_document_describes_them() -> None:
    at = desk()
    at.log.buy("P", 9)
    async with opened(parts=[at.part], scopes=["emit", "read"]) as door:
        answer, granted = await asked(door), await held(door)
    described = document([at.part])
    schemas = described["components"]["schemas"]
    for name, value in (("RouteDocument", answer.body), ("HoldDocument", granted.body)):
        assert set(value) == set(schemas[name]["properties"]) == set(schemas[name]["required"])
    for method, path in (("get", "route"), ("post", "holds")):
        operation = described["paths"][f"/v1/apps/{{appid}}/{path}"][method]
        for status in ("200", "201"):
            content = operation["responses"].get(status, {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                name = "RouteDocument" if path == "route" else "HoldDocument"
                assert set(example["value"]) == set(schemas[name]["properties"])
