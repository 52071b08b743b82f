"""Requests over HTTP: content modes, limits, slow and broken clients, and answers that are problems."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest

from producers.codes import id_of
from producers.gateway.content_modes import EVENTS_MAX
from producers.gateway.problems import STATUSES
from producers.gateway.request_body import BODY_BYTES_MAX, MEMBERS_MAX
from tests.producers.gateway.parts import APP, BATCHED, STRUCTURED, Door, opened, tap
from tests.waiting import WITHIN_S, until

JSON = {"content-type": "application/json"}
GZIP = {**STRUCTURED, "content-encoding": "gzip"}


async def test_an_event_is_answered_with_its_result_and_goes_on_as_it_came() -> None:
    async with opened() as door:
        event = json.dumps(tap("a"), indent=1).encode()
        answer = await door.post(event)
        assert answer.status == 200
        assert answer.body["results"] == [{"index": 0, "outcome": "accepted", "id": "a"}]
        assert answer.headers["x-request-id"]
        assert door.publisher.values == [event]


async def test_a_batch_has_a_result_per_event_in_its_order() -> None:
    async with opened() as door:
        events: list[Any] = [tap("a"), tap("a"), tap("a", "wxother"), {"id": "x"}, 7, tap("b")]
        answer = await door.post(events, BATCHED)
        assert answer.status == 422
        assert answer.problem == "events_refused"
        assert answer.outcomes == ["accepted", "duplicate", "accepted", "refused", "refused", "accepted"]
        assert {name: answer.body[name] for name in ("accepted", "duplicate", "refused")} == {
            "accepted": 3,
            "duplicate": 1,
            "refused": 2,
        }
        assert [json.loads(value)["id"] for value in door.publisher.values] == ["a", "a", "b"]


async def test_an_empty_batch_is_right() -> None:
    async with opened() as door:
        answer = await door.post([], BATCHED)
        assert (answer.status, answer.outcomes, door.publisher.calls) == (200, [], 0)


async def test_plain_json_is_an_event_or_a_list_of_them() -> None:
    async with opened() as door:
        assert (await door.post(tap("a"), JSON)).outcomes == ["accepted"]
        assert (await door.post([tap("b"), tap("c")], JSON)).outcomes == ["accepted"] * 2


async def test_in_binary_mode_the_attributes_are_headers_in_percent_encoding() -> None:
    async with opened() as door:
        event = tap("a", source="/back%20end")
        headers = {f"ce-{name}": value for name, value in event.items() if name != "data"}
        answer = await door.post(event["data"], {**headers, **JSON})
        assert answer.status == 200
        assert json.loads(door.publisher.values[0]) == {
            **event,
            "source": "/back end",
            "datacontenttype": "application/json",
        }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ce-id": "%FF"}, "not_utf8"),
        ({"ce-data": "x"}, "invalid_field"),
        ({"content-type": "text/plain"}, "not_json"),
        ({"ce-specversion": "0.3"}, "invalid_field"),
    ],
)
async def test_what_is_wrong_in_binary_mode_is_refused_with_its_reason(
    change: dict[str, str], reason: str
) -> None:
    async with opened() as door:
        event = tap("a")
        headers = {f"ce-{name}": value for name, value in event.items() if name != "data"}
        answer = await door.post(event["data"], {**headers, **JSON, **change})
        assert (answer.status, answer.body["results"][0]["reason"]) == (422, reason)


async def test_a_tap_may_have_its_code_instead_of_an_id_and_the_code_goes_no_further() -> None:
    async with opened() as door:
        event = tap("", code="C0DE")
        del event["id"]
        answer = await door.post(event)
        assert answer.body["results"][0]["id"] == id_of(APP, "C0DE")
        assert b"C0DE" not in door.publisher.values[0]
        again = await door.post([event, tap(id_of(APP, "C0DE"), code="C0DE")], BATCHED)
        assert again.outcomes == ["accepted", "duplicate"]


@pytest.mark.parametrize("code", ["", "None", "null", "undefined", None, 7])
async def test_a_missing_code_is_refused(code: object) -> None:
    async with opened() as door:
        event = tap("", code=code)
        del event["id"]
        assert (await door.post(event)).outcomes == ["refused"]


async def test_a_code_beside_an_id_that_is_not_its_own_or_of_no_tap_is_refused() -> None:
    async with opened() as door:
        events = [tap("a", code="C0DE"), tap("", type="pack.purchased", code="C0DE")]
        assert (await door.post(events, BATCHED)).outcomes == ["refused"] * 2


PHONE, OPENID = "13800138000", "oABCDabcd1234567890ABCDabcd1"


@pytest.mark.parametrize(
    "event",
    [
        tap(PHONE),
        tap("a", data={"capability": "quick", "store": PHONE}),
        tap("a", data={"capability": "quick", "client": OPENID}),
        tap("a", openid="x"),
        tap("a", data={"capability": "quick", "note": f"call {PHONE}"}),
        {**tap("a"), PHONE: 1},
        tap("a", type=PHONE),
    ],
    ids=["id", "store", "client", "name", "text", "field", "type"],
)
async def test_a_phone_number_or_openid_never_enters_and_is_not_repeated_in_the_answer(
    event: dict[str, Any],
) -> None:
    async with opened() as door:
        answer = await door.post(event)
        assert (answer.status, answer.outcomes) == (422, ["refused"])
        assert not {PHONE, OPENID} & set(json.dumps(answer.body).split('"'))
        assert PHONE not in json.dumps(answer.body)
        assert OPENID not in json.dumps(answer.body)
        assert door.publisher.calls == 0


@pytest.mark.parametrize("type_", ["clock.ticked", "account.settled"])
async def test_events_that_only_our_own_services_publish_are_refused(type_: str) -> None:
    data = {"as_of": 1, "after": -1, "from": "2026-01-01T00:00:00Z"}
    event = tap("a", "clock" if type_ == "clock.ticked" else APP, type=type_, data=data)
    if type_ == "clock.ticked":
        del event["data"]
    async with opened() as door:
        answer = await door.post(event)
        assert answer.body["results"][0]["reason"] == "type_not_allowed"


@pytest.mark.parametrize(
    ("headers", "body", "status", "problem"),
    [
        ({}, b"{}", 415, "media_type"),
        ({"content-type": "text/plain"}, b"{}", 415, "media_type"),
        ({"content-type": "application/cloudevents+xml"}, b"{}", 415, "media_type"),
        ({"content-type": "application/json; charset=gbk"}, b"{}", 415, "media_type"),
        ({**STRUCTURED, "content-encoding": "br"}, b"{}", 415, "media_type"),
        (BATCHED, b"{}", 400, "malformed"),
        (BATCHED, b"[1,", 400, "malformed"),
        (BATCHED, b"[" * 100_000, 400, "malformed"),
        (GZIP, b"no gzip", 400, "malformed"),
        pytest.param(GZIP, gzip.compress(b"{}")[:-9], 400, "malformed", id="cut off"),
        pytest.param(GZIP, gzip.compress(b"") * (MEMBERS_MAX + 1), 400, "malformed", id="many members"),
        ({**STRUCTURED, "idempotency-key": "x" * 256}, b"{}", 400, "malformed"),
    ],
)
async def test_a_request_that_cannot_be_read_is_a_problem(
    headers: dict[str, str], body: bytes, status: int, problem: str
) -> None:
    async with opened() as door:
        answer = await door.post(body, {"content-type": "", **headers})
        assert (answer.status, answer.problem) == (status, problem)
        assert door.publisher.calls == 0


async def test_a_thousand_events_are_taken_and_one_more_is_too_many() -> None:
    async with opened() as door:
        events = [tap(str(one)) for one in range(EVENTS_MAX + 1)]
        assert (await door.post(events, BATCHED)).problem == "too_large"
        assert door.publisher.calls == 0
        assert (await door.post(events[1:], BATCHED)).body["accepted"] == EVENTS_MAX


def padded(size: int) -> bytes:
    event = json.dumps([tap("a")]).encode()
    return event + b" " * (size - len(event))


async def test_a_mebibyte_is_taken_and_one_byte_more_is_too_much() -> None:
    async with opened() as door:
        assert (await door.post(padded(BODY_BYTES_MAX), BATCHED)).status == 200
        answer = await door.post(padded(BODY_BYTES_MAX + 1), BATCHED)
        assert (answer.status, answer.problem) == (413, "too_large")


async def test_gzip_is_unpacked_up_to_the_same_limit_and_no_further() -> None:
    async with opened() as door:
        packed = gzip.compress(padded(BODY_BYTES_MAX)[:500]) + gzip.compress(padded(BODY_BYTES_MAX)[500:])
        assert (await door.post(packed, {**BATCHED, "content-encoding": "gzip"})).status == 200
        bomb = zlib.compressobj(9, wbits=31)
        data = b"".join(bomb.compress(bytes(1_048_576)) for _ in range(40)) + bomb.flush()
        assert len(data) < BODY_BYTES_MAX
        answer = await door.post(data, GZIP)
        assert (answer.status, answer.problem) == (413, "too_large")


async def test_other_paths_and_methods_are_problems_too() -> None:
    async with opened() as door:
        missing, wrong = await door.request("GET", "/v2"), await door.request("GET", "/v1/events")
        assert (missing.status, missing.problem) == (404, "not_found")
        assert (wrong.status, wrong.problem, wrong.headers["allow"]) == (405, "method_not_allowed", "POST")


async def test_kafka_away_is_said_with_the_time_to_try_again_and_nothing_is_taken() -> None:
    async with opened() as door:
        door.publisher.trouble = "Kafka does not answer."
        answer = await door.post(tap("a"))
        assert (answer.status, answer.problem) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert answer.body["detail"] == "Nothing was taken. Kafka does not answer."


async def test_what_kafka_does_not_confirm_is_said_to_be_open() -> None:
    async with opened() as door:
        door.publisher.silent = True
        answer = await door.post([tap("a"), tap("a"), {}], BATCHED)
        assert (answer.status, answer.problem) == (503, "unconfirmed")
        assert answer.outcomes == ["unconfirmed", "duplicate", "refused"]
        assert int(answer.headers["retry-after"]) > 0


async def test_one_request_too_many_is_refused_at_once_and_the_others_go_on() -> None:
    async with opened(requests_max=2) as door:
        door.publisher.held = asyncio.Event()
        under_way = [asyncio.create_task(door.post(tap(str(one)))) for one in range(2)]
        await until(lambda: door.publisher.calls == 2, WITHIN_S)
        full = await door.post(tap("c"))
        assert (full.status, full.problem, int(full.headers["retry-after"])) == (503, "unavailable", 2)
        door.publisher.held.set()
        assert [one.status for one in await asyncio.gather(*under_way)] == [200, 200]
        assert (await door.post(tap("c"))).status == 200


async def test_a_repeat_with_the_same_idempotency_key_gets_the_same_answer_and_is_not_sent_again() -> None:
    async with opened() as door:
        headers = {**BATCHED, "idempotency-key": "order-1"}
        for events, status in (([tap("a")], 200), ([tap("a"), {}], 422)):
            named = {**headers, "idempotency-key": str(status)}
            first, again = await door.post(events, named), await door.post(events, named)
            assert (first.status, again.status, again.body) == (status, status, first.body)
            assert again.headers["idempotent-replayed"] == "true"
        assert door.publisher.calls == 2
        other = await door.post([tap("b")], {**headers, "idempotency-key": "200"})
        assert (other.status, other.problem) == (422, "repeat_differs")


async def test_a_repeat_while_the_first_is_under_way_is_told_to_wait_and_a_failure_is_not_kept() -> None:
    async with opened() as door:
        headers = {**STRUCTURED, "idempotency-key": "order-1"}
        door.publisher.held, event = asyncio.Event(), tap("a")
        first = asyncio.create_task(door.post(event, headers))
        await door.publisher.called.wait()
        assert (await door.post(event, headers)).problem == "repeat_under_way"
        door.publisher.trouble = "Kafka does not answer."
        door.publisher.held.set()
        assert (await first).status == 503
        door.publisher.trouble = ""
        assert (await door.post(event, headers)).status == 200


async def raw(door: Door, *parts: bytes) -> bytes:
    """Send parts of a request and no more, and return all that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_a_slow_body_is_ended_and_holds_up_nobody() -> None:
    async with opened(receive_s=0.5) as door:
        head = f"POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {door.text}\r\n"
        body = "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        slow = asyncio.create_task(raw(door, (head + body).encode()))
        assert (await door.post(tap("a"))).status == 200
        answer = await slow
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer


@pytest.mark.parametrize("head", [b"", b"POST /v1/events HTTP/1.1\r\nx-slow: "], ids=["none", "half"])
async def test_a_head_that_does_not_come_or_end_is_not_waited_for(head: bytes) -> None:
    async with opened(receive_s=0.3) as door:
        assert await raw(door, head) == b""


async def test_a_head_without_end_is_cut_off() -> None:
    async with opened(receive_s=30) as door:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET / HTTP/1.1\r\n")
        for _ in range(1_000):
            writer.write(b"x-endless: " + b"x" * 4_096 + b"\r\n")
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0)
        assert writer.transport.is_closing()


async def test_browsers_may_send_only_from_origins_that_are_named() -> None:
    preflight = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    async with opened() as door:
        assert (await door.request("OPTIONS", "/v1/events", headers=preflight)).status == 405
        plain = await door.post(tap("a"), {**STRUCTURED, "origin": "https://shop.example"})
        assert "access-control-allow-origin" not in plain.headers
    async with opened(cors=["https://shop.example"]) as door:
        allowed = await door.request("OPTIONS", "/v1/events", headers=preflight, key="")
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        other = await door.request(
            "OPTIONS", "/v1/events", headers={**preflight, "origin": "https://evil.example"}, key=""
        )
        assert "access-control-allow-origin" not in other.headers


async def test_every_problem_is_counted_by_its_name() -> None:
    async with opened() as door:
        await door.post(tap("a"))
        await door.post(b"[", BATCHED)
        value = door.metrics.registry.get_sample_value
        assert value("phonemeter_gateway_requests_total", {"answer": "ok"}) == 1
        assert value("phonemeter_gateway_requests_total", {"answer": "malformed"}) == 1
        assert value("phonemeter_gateway_events_total", {"outcome": "accepted"}) == 1
        assert set(STATUSES) >= {"malformed"}
