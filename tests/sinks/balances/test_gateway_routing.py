"""Decisions and holds of the stack's own gateway: its memory follows the stream, and a kill loses no hold."""

import asyncio
import json
import os
import secrets
import signal
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp

from metering.times import to_ms
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.stack.stack import Stack
from tests.metering.building import text_of
from tests.producers.gateway.parts import BATCHED, tap
from tests.waiting import WITHIN_S, until

REFUSED = 1_400_001


class BackEnd(NamedTuple):
    """A back end of one app, with a key for it."""

    stack: Stack
    app: str
    key: str

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Ask the gateway, which may be away: then the status is 0."""
        url = f"http://127.0.0.1:{self.stack.settings.gateway_port}{path}"
        given = {"authorization": f"Bearer {self.key}", **headers}
        data = None if body is None else json.dumps(body)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.request(method, url, data=data, headers=given) as reply,
            ):
                return reply.status, json.loads(await reply.read() or b"null")
        except aiohttp.ClientError:
            return 0, None

    async def send(self, *events: dict[str, Any]) -> None:
        """Send events."""
        status, answer = await self.ask("POST", "/v1/events", events, **BATCHED)
        assert status == 200, answer

    async def hold(self) -> tuple[int, Any]:
        """Hold a call."""
        return await self.ask("POST", f"/v1/apps/{self.app}/holds", {"seconds": 300})

    async def route(self) -> dict[str, Any]:
        """The decision; empty while the gateway is away."""
        status, answer = await self.ask("GET", f"/v1/apps/{self.app}/route?capability=quick")
        return dict(answer) if status == 200 else {}

    async def until_routed(self, **expected: object) -> None:
        """Wait for a decision."""
        found: list[dict[str, Any]] = []

        async def look() -> None:
            while not found or not expected.items() <= found[-1].items():
                found.append(await self.route())
                await asyncio.sleep(0.05)

        try:
            async with asyncio.timeout(2 * WITHIN_S):
                await look()
        except TimeoutError:
            raise AssertionError(f"not {expected} but {found[-1]}") from None

    def fact(self, kind: str, name: str, **data: object) -> dict[str, Any]:
        """A fact of the app, now."""
        return tap(f"{self.app}-{name}", self.app, type=kind, data=data)


async def test_the_gateway_decides_by_the_stream_and_its_holds_outlive_it(stack: Stack) -> None:
    app, now = f"wx{secrets.token_hex(8)}", datetime.now(UTC)
    with BusinessDatabase(stack.settings.business_url) as database:
        key = KeyStore(database).issue("routing", ("emit", "read"), (app,)).text
    back_end = BackEnd(stack, app, key)
    await back_end.until_routed(reason="not_known", degraded=True)
    bought = back_end.fact(
        "pack.purchased", "P", pack_id=f"{app}-P", capability="quick", calls=3, validity_days=90,
        price_micro_yuan=90_000, paid_at=text_of(to_ms(now)),
    )  # fmt: skip
    await back_end.send(
        back_end.fact("account.opened", "opened", trial_used=stack.settings.trial_calls), bought
    )
    # Also an app in a quiet partition is known as of now before long.
    await back_end.until_routed(route="wechat", reason="enough", left=3, degraded=False)

    granted = await asyncio.gather(*(back_end.hold() for _ in range(12)))
    assert sorted(status for status, _ in granted) == 3 * [201] + 9 * [409]
    await back_end.until_routed(route="sms", reason="used_up", left=3, held=3)

    pid = stack.pid("gateway")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: stack.pid("gateway") not in {None, pid})
    await back_end.until_routed(reason="used_up", left=3, held=3, degraded=False)
    status, refused = await back_end.hold()
    assert (status, refused["type"]) == (409, "urn:phonemeter:problem:conflict")

    used, denied, _ = [answer["id"] for status, answer in granted if status == 201]
    await back_end.send(
        tap(f"{app}-1", app, data={"capability": "quick", "hold": used}),
        tap(f"{app}-2", app, type="phone.authorization.denied", data={"capability": "quick", "hold": denied}),
    )
    # One call is free again; the balance is not clear of the reserve, and whoever asks for a hold gets it.
    await back_end.until_routed(route="sms", reason="reserve_reached", left=2, held=1)
    assert [(await back_end.hold())[0] for _ in range(2)] == [201, 409]

    await back_end.send(back_end.fact("phone.authorization.failed", "3", capability="quick", errno=REFUSED))
    await back_end.until_routed(route="sms", reason="platform_refused")
