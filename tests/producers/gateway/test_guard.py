"""The guard of endpoints of other parts: key, scope, app and rate come before the handler."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from metering.http_endpoints import Endpoint, Scope
from producers.gateway.openapi import document
from tests.producers.gateway.parts import APP, BATCHED, STRUCTURED, key_with, opened, tap
from tests.waiting import WITHIN_S

OTHER = "wx8ff4154a2448e576"


class BalancePart:
    """A part with one endpoint, which counts its calls."""

    def __init__(self, *, is_direct: bool = False) -> None:
        self._is_direct = is_direct
        self.calls = 0
        self.failure: Exception | None = None

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        operation = {
            "operationId": "balance",
            "responses": {"200": {"description": "The balance."}, "409": {}},
        }
        where = "/v1/apps/{appid}/balance"
        scopes: frozenset[Scope] = frozenset({"read"})
        handler = self.answer if self._is_direct else self.balance
        return [Endpoint("GET", where, scopes, handler, operation, self._is_direct)]

    @property
    def schemas(self) -> Mapping[str, Any]:
        return {"Balance": {"type": "object"}}

    def troubles(self) -> Sequence[str]:
        return ()

    async def run(self) -> None:
        """Has no work."""

    async def balance(self, request: Request) -> Response:
        return self.answer(request)

    def answer(self, request: Request) -> Response:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        return JSONResponse({"apps": request.state.apps})


def path(appid: str = APP) -> str:
    return f"/v1/apps/{appid}/balance"


@pytest.mark.parametrize("is_direct", [False, True], ids=["routed", "direct"])
async def test_a_key_with_the_scope_and_the_app_reaches_the_handler(*, is_direct: bool) -> None:
    async with opened(parts=[BalancePart(is_direct=is_direct)], scopes=["read"], apps=[APP]) as door:
        answer = await door.request("GET", path())
    assert (answer.status, answer.body) == (200, {"apps": [APP]})
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("is_direct", [False, True], ids=["routed", "direct"])
@pytest.mark.parametrize(
    ("scopes", "apps", "key", "problem"),
    [
        (["read"], [OTHER], None, "not_found"),
        (["emit"], [APP], None, "scope_missing"),
        (["read"], [APP], "", "key_missing"),
        (["read"], [APP], "pm_00000000_" + 43 * "x", "key_invalid"),
    ],
    ids=["app of others", "other scope", "no key", "unknown key"],
)
async def test_nobody_else_does(
    scopes: Sequence[Any], apps: Sequence[str], key: str | None, problem: str, *, is_direct: bool
) -> None:
    part = BalancePart(is_direct=is_direct)
    async with opened(parts=[part], scopes=scopes, apps=apps) as door:
        assert (await door.request("GET", path(), key=key)).problem == problem
    assert part.calls == 0


@pytest.mark.parametrize("is_direct", [False, True], ids=["routed", "direct"])
async def test_a_key_that_was_issued_after_the_last_reading_reaches_the_handler(*, is_direct: bool) -> None:
    part = BalancePart(is_direct=is_direct)
    async with opened(parts=[part]) as door:
        text, key = key_with(("read",))
        door.source.keys.append(key)
        assert (await door.request("GET", path(), key=text)).status == 200
    assert part.calls == 1


async def test_requests_count_for_the_rate_of_the_key() -> None:
    part = BalancePart()
    async with opened(parts=[part], scopes=["emit", "read"], events_per_s=1) as door:
        await door.post([tap(str(number)) for number in range(1_000)], BATCHED)
        answer = await door.request("GET", path())
    assert answer.problem == "rate_limit"
    assert int(answer.headers["retry-after"]) >= 1
    assert part.calls == 0


@pytest.mark.parametrize("is_direct", [False, True], ids=["routed", "direct"])
@pytest.mark.parametrize(
    ("failure", "problem", "detail"),
    [
        (HTTPException(404, "There is no pack 'P1'."), "not_found", "There is no pack 'P1'."),
        (HTTPException(409, "Nothing is left."), "conflict", "Nothing is left."),
        (
            HTTPException(503, "ClickHouse is away.", {"retry-after": "2"}),
            "unavailable",
            "ClickHouse is away.",
        ),
        (ValueError("a secret"), "failed", "The gateway failed; send the same request again"),
    ],
    ids=["not found", "conflict", "away", "defect"],
)
async def test_what_a_handler_raises_becomes_a_problem(
    failure: Exception, problem: str, detail: str, *, is_direct: bool
) -> None:
    part = BalancePart(is_direct=is_direct)
    part.failure = failure
    async with opened(parts=[part], scopes=["read"]) as door:
        answer = await door.request("GET", path())
    assert answer.problem == problem
    assert answer.body["detail"].startswith(detail)


async def test_what_does_not_fit_a_direct_path_exactly_goes_the_usual_way() -> None:
    part = BalancePart(is_direct=True)
    async with opened(parts=[part], scopes=["read"]) as door:
        posted = await door.request("POST", path())
        others = [
            await door.request("GET", f"/v1/apps/{name}balance") for name in ("", "a/b/", "a/balance/", "a")
        ]
    assert posted.problem == "method_not_allowed"
    assert {answer.problem for answer in others} == {"not_found"}
    assert part.calls == 0


def test_the_document_describes_its_endpoints_with_what_every_endpoint_may_answer() -> None:
    described = document([BalancePart()])
    operation = described["paths"]["/v1/apps/{appid}/balance"]["get"]
    assert set(operation["responses"]) == {"200", "400", "401", "403", "404", "409", "429", "500", "503"}
    assert "x-request-id" in {name.lower() for name in operation["responses"]["200"]["headers"]}
    assert described["components"]["schemas"]["Balance"] == {"type": "object"}
    problems = operation["responses"]["409"]["content"]["application/problem+json"]["examples"]
    assert problems.keys() == {"conflict"}


async def test_direct_answers_come_in_the_order_of_their_requests_whatever_is_between_them() -> None:
    async with opened(parts=[BalancePart(is_direct=True)], scopes=["emit", "read"]) as door:
        key = f"host: x\r\nauthorization: Bearer {door.text}\r\n"
        body = json.dumps(tap("1")).encode()
        head = f"content-type: {STRUCTURED['content-type']}\r\ncontent-length: {len(body)}\r\n\r\n"
        post = f"POST /v1/events HTTP/1.1\r\n{key}{head}"
        asked = [f"GET {path()} HTTP/1.1\r\n{key}x-request-id: {name}\r\n\r\n".encode() for name in "abcde"]
        last = f"GET {path()} HTTP/1.1\r\n{key}x-request-id: last\r\nconnection: close\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(asked[0] + asked[1] + post.encode() + body + b"".join(asked[2:]) + last)
        answers = (await asyncio.wait_for(reader.read(), WITHIN_S)).split(b"HTTP/1.1 200 OK\r\n")
        writer.close()
    ids = [re.findall(rb"x-request-id: (\S+)", answer) for answer in answers[1:]]
    assert [*ids[:2], *ids[3:]] == [[b"a"], [b"b"], [b"c"], [b"d"], [b"e"], [b"last"]]
    assert b'"accepted"' in answers[3]
    assert [answer for answer in answers if b"connection: close" in answer] == answers[-1:]


async def test_a_direct_answer_to_a_browser_of_another_site_has_what_that_site_may_read() -> None:
    site = "https://shop.example"
    async with opened(parts=[BalancePart(is_direct=True)], scopes=["read"], cors=[site]) as door:
        answer = await door.request("GET", path(), headers={"origin": site})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, site)
