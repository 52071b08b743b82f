"""Bent requests: each is refused in a sentence, and nothing of it is taken for another request."""

import asyncio
import gzip
import json
import time
from collections.abc import Sequence

import pytest

from http_service import http_connection
from http_service.http_connection import HEAD_BYTES_MAX
from producers.gateway.request_body import BODY_BYTES_MAX
from tests.producers.gateway.parts import APP, STRUCTURED, Door, SharedDoor, opened, shares_a_door, tap
from tests.waiting import WITHIN_S, until

OTHER = "wx8ff4154a2448e576"
BODY = json.dumps(tap("a")).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


def request_of(door: Door, *lines: str, method: str = "POST", path: str = "/v1/events") -> bytes:
    """The head of a request with the door's key, whose connection is closed after the answer."""
    own = ["host: x", f"authorization: Bearer {door.text}", "content-type: application/json"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *own, "connection: close", *lines, "", ""]).encode()


async def raw(door: Door, data: bytes) -> tuple[int, str]:
    """Send bytes, and return status and problem of the one answer that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        writer.write(data)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), WITHIN_S)
    finally:
        writer.close()
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    problem = "" if head.startswith(b"HTTP/1.1 200 ") else str(json.loads(body)["type"]).rpartition(":")[2]
    return int(head.split()[1]), problem


LENGTH = f"content-length: {len(BODY)}"
SMUGGLED = b"0\r\n\r\nPOST /v1/events HTTP/1.1\r\nhost: x\r\n\r\n"
BENT: dict[str, tuple[Sequence[str], bytes, int]] = {
    "a length and chunks": ((LENGTH, "transfer-encoding: chunked"), SMUGGLED, 400),
    "chunks and a length": (("transfer-encoding: chunked", LENGTH), SMUGGLED, 400),
    "two lengths": ((LENGTH, LENGTH), BODY, 400),
    "two different lengths": ((LENGTH, "content-length: 3"), BODY, 400),
    "a list of lengths": ((f"{LENGTH}, {len(BODY)}",), BODY, 400),
    "a length below zero": (("content-length: -1",), BODY, 400),
    "a length with a sign": (("content-length: +5",), BODY, 400),
    "a length in hexadecimal": (("content-length: 0x5",), BODY, 400),
    "a length beyond every number": (("content-length: 99999999999999999999999",), BODY, 400),
    "chunks that are not last": (("transfer-encoding: chunked, identity",), CHUNKED, 400),
    "an encoding that nobody knows": (("transfer-encoding: xchunked",), CHUNKED, 400),
    "a tab in the encoding": (("transfer-encoding:\x0bchunked",), CHUNKED, 400),
    "a chunk without a size": (("transfer-encoding: chunked",), b"\r\n" + CHUNKED, 400),
    "a chunk with a size below zero": (("transfer-encoding: chunked",), b"-1\r\n", 400),
    "a chunk larger than it says": (("transfer-encoding: chunked",), b"1\r\n" + BODY + b"\r\n0\r\n\r\n", 400),
    "a space before the colon": (("x-a : 1", LENGTH), BODY, 400),
    "a name with a null byte": (("x-\0: 1", LENGTH), BODY, 400),
    "a value with a null byte": (("x-a: \0", LENGTH), BODY, 400),
    "a line that ends with a line feed alone": (("x-a: 1\nx-b: 1", LENGTH), BODY, 400),
    "a folded line": (("x-a: 1\r\n b: 2", LENGTH), BODY, 400),
    "two keys": (("authorization: Bearer x", LENGTH), BODY, 400),
    "two content types": (("content-type: application/cloudevents+json", LENGTH), BODY, 400),
    "two hosts": (("host: y", LENGTH), BODY, 400),
    "two encodings": (("content-encoding: gzip", "content-encoding: identity", LENGTH), BODY, 400),
    "two idempotency keys": (("idempotency-key: a", "idempotency-key: b", LENGTH), BODY, 400),
    "an empty idempotency key": (("idempotency-key: ", LENGTH), BODY, 400),
    "two ids of an event": (("ce-specversion: 1.0", "ce-id: a", "ce-id: b", LENGTH), BODY, 422),
    "a head that is too long": ((f"x-a: {HEAD_BYTES_MAX * 'x'}", LENGTH), BODY, 400),
    "headers without number": (tuple(f"x-{number}: 1" for number in range(10_000)), b"", 400),
    "a body that is too long": ((f"content-length: {BODY_BYTES_MAX + 1}",), bytes(BODY_BYTES_MAX + 1), 413),
}


@pytest.mark.parametrize("case", BENT)
async def test_a_bent_request_is_refused_and_nothing_of_it_is_taken_for_another(case: str) -> None:
    lines, body, status = BENT[case]
    async with opened() as door:
        found, problem = await raw(door, request_of(door, *lines) + body)
        assert (found, problem) == (
            status,
            {400: "malformed", 413: "too_large", 422: "events_refused"}[status],
        )
        assert door.publisher.calls == 0
        assert (await door.post(tap("a"))).status == 200


@shares_a_door
@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"NONE /v1/events HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/events HTTP/9.9\r\nhost: x\r\n\r\n",
        b"POST /v1/ev\0ents HTTP/1.1\r\nhost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["HTTP/2", "TLS", "a tunnel", "no method", "no version", "a null byte", "SSH"],
)
async def test_what_is_no_request_is_refused_in_a_sentence(data: bytes, shared: SharedDoor) -> None:
    assert await raw(shared.door, data) == (400, "malformed")


@shares_a_door
@pytest.mark.parametrize(
    "path",
    [
        "//v1/events",
        "/v1//events",
        "/v1/events/",
        "/v1/events%2f",
        "/v1/events%00",
        "/v1/events;x",
        "/v1/../v1/events",
        "/v1/%2e%2e/v1/events",
        "/V1/events",
        "/v1\\events",
        "*",
        "/v1/docs/../events",
        "/v1/docs/%2e%2e/%2e%2e/etc/passwd",
        f"/v1/apps/{OTHER}%2f..%2f{APP}/some",
        "/metrics",
        "/healthz",
    ],
)
async def test_a_path_that_is_none_is_not_found_and_leads_nowhere_else(path: str, shared: SharedDoor) -> None:
    door, before = shared.door, shared.taken
    assert await raw(door, request_of(door, LENGTH, path=path) + BODY) == (404, "not_found")
    assert await raw(door, request_of(door, method="GET", path=path)) == (404, "not_found")
    assert shared.taken == before


@shares_a_door
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_a_method_that_events_do_not_have_is_refused_with_those_that_they_have(
    method: str, shared: SharedDoor
) -> None:
    before = shared.taken
    answer = await shared.door.request(method, "/v1/events", headers={"x-http-method-override": "POST"})
    assert (answer.status, answer.problem, answer.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert shared.taken == before


@pytest.mark.parametrize(
    ("origin", "path", "method"),
    [
        ("https://evil.example", "/v1/events", "POST"),
        ("null", "/v1/events", "POST"),
        ("https://shop.example.evil.example", "/v1/events", "POST"),
        ("http://shop.example", "/v1/events", "POST"),
        ("https://shop.example:8443", "/v1/events", "POST"),
        ("https://shop.example", "/v1/events", "PATCH"),
    ],
)
async def test_a_preflight_from_elsewhere_or_for_more_is_not_granted(
    origin: str, path: str, method: str
) -> None:
    async with opened(cors=["https://shop.example"]) as door:
        asked_for = {"origin": origin, "access-control-request-method": method}
        answer = await door.request("OPTIONS", path, headers=asked_for, key="")
        assert answer.status == 400
        is_ours = origin == "https://shop.example"
        assert ("access-control-allow-origin" in answer.headers) == is_ours
        plain = await door.post(tap("a"), {**STRUCTURED, "origin": origin})
        assert ("access-control-allow-origin" in plain.headers) == is_ours
        assert "access-control-allow-credentials" not in plain.headers


OFFERS = {
    "HTTP/2 and a length": (("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", LENGTH), BODY),
    "HTTP/2 and chunks": (
        ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "transfer-encoding: chunked"),
        CHUNKED,
    ),
    "a WebSocket": (("connection: upgrade", "upgrade: websocket", LENGTH), BODY),
}


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_of_another_protocol_is_passed_over_and_the_body_is_read(
    offer: str, *, apart: bool
) -> None:
    lines, body = OFFERS[offer]
    async with opened() as door:
        first = request_of(door, *lines).replace(b"connection: close\r\n", b"") + body
        data = first + request_of(door, LENGTH) + BODY
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        for part in [data[at : at + 1] for at in range(len(data))] if apart else [data]:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        answers = await asyncio.wait_for(reader.read(), WITHIN_S)
        writer.close()
        assert answers.count(b"HTTP/1.1 200 OK") == 2, answers
        assert door.publisher.values == [BODY, BODY]


async def test_an_offer_does_not_hide_a_second_length() -> None:
    async with opened() as door:
        lines = ("connection: upgrade", "upgrade: h2c", LENGTH, "transfer-encoding: chunked")
        assert await raw(door, request_of(door, *lines) + SMUGGLED) == (400, "malformed")
        assert door.publisher.calls == 0


async def test_a_bomb_of_gzip_is_refused_before_it_is_unpacked_to_the_end() -> None:
    async with opened() as door:
        bomb = gzip.compress(bytes(64 * BODY_BYTES_MAX))
        answer = await door.post(bomb, {**STRUCTURED, "content-encoding": "gzip"})
        assert (answer.status, answer.problem) == (413, "too_large")
        nested = await door.post(gzip.compress(bomb), {**STRUCTURED, "content-encoding": "gzip"})
        assert nested.outcomes == ["refused"]
        listed = await door.post(bomb, {**STRUCTURED, "content-encoding": "gzip, gzip"})
        assert (listed.status, listed.problem) == (415, "media_type")
        assert door.publisher.calls == 0


async def test_one_connection_too_many_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "CONNECTIONS_MAX", 3)
    async with opened() as door:
        idle = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(3)]
        assert await raw(door, request_of(door, LENGTH) + BODY) == (503, "unavailable")
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        # The server learns of it in its own turn.
        answers = [await raw(door, request_of(door, LENGTH) + BODY) for _ in range(20)]
        assert answers[-1] == (200, "")


async def test_many_slow_bodies_hold_no_place_of_others_for_longer_than_their_time() -> None:
    async with opened(receive_s=0.5, requests_max=4) as door:
        began_s = time.monotonic()
        slow = [
            asyncio.create_task(raw(door, request_of(door, "content-length: 100") + b"{")) for _ in range(4)
        ]
        await until(lambda: door.value("phonemeter_gateway_requests_open") == 4, WITHIN_S)
        assert await raw(door, request_of(door, LENGTH) + BODY) == (503, "unavailable")
        assert await asyncio.gather(*slow) == [(408, "too_slow")] * 4
        assert time.monotonic() - began_s >= 0.5
        assert await raw(door, request_of(door, LENGTH) + BODY) == (200, "")
