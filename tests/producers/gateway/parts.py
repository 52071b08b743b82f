"""Parts of a gateway for tests: keys, events, and a gateway without Kafka."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from http_service.http_server import served
from metering.http_endpoints import Endpoint, HoldEnder, HttpPart, Scope
from producers.errors import UnavailableError
from producers.event_batch import CheckedEvent, EventBatch
from producers.gateway.api_keys import ApiKey, digest_of, key_id_of, new_key_text
from producers.gateway.application import public_site
from producers.gateway.errors import KeysUnavailableError
from producers.gateway.events_endpoint import EventsEndpoint, RequestLimits
from producers.gateway.guard import Guard
from producers.gateway.key_ring import KeyRing
from producers.gateway.metrics import Metrics
from producers.gateway.rate_limits import RateLimits
from tests.ports import free_port

APP = "wxfb1f3d218d111092"
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCHED = {"content-type": "application/cloudevents-batch+json"}


def key_with(
    scopes: Sequence[Scope] = ("emit",),
    apps: Sequence[str] = (),
    **more: Any,  # noqa: ANN401 - fields of the key
) -> tuple[str, ApiKey]:
    """A new key: its text, and what is stored of it."""
    text = new_key_text()
    key = ApiKey(
        key_id=key_id_of(text) or "",
        name="back end",
        digest=digest_of(text),
        scopes=tuple(scopes),
        apps=tuple(apps),
        **more,
    )
    return text, key


def tap(identifier: str, appid: str = APP, **more: object) -> dict[str, Any]:
    """An event of a tap, now."""
    return {
        "specversion": "1.0",
        "id": identifier,
        "type": "phone.authorization.succeeded",
        "source": "/backend",
        "subject": appid,
        "time": datetime.now(UTC).isoformat(),
        "data": {"capability": "quick"},
        **more,
    }


class ListedKeys:
    """Keys in a list, or away."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = list(keys)
        self.away = False

    def valid_keys(self) -> Sequence[ApiKey]:
        if self.away:
            raise KeysUnavailableError("The business database is away.")
        return self.keys


class RecordingPublisher:
    """In place of Kafka: takes what it is given, refuses it, or never confirms it."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.calls = 0
        self.trouble = ""
        self.silent = False
        self.held: asyncio.Event | None = None
        self.called = asyncio.Event()

    async def publish(self, events: Sequence[CheckedEvent]) -> EventBatch:
        self.calls += 1
        self.called.set()
        if self.held is not None:
            await self.held.wait()
        if self.trouble:
            raise UnavailableError(self.trouble)
        values = [event.value for event in events]
        batch = EventBatch(values)
        if self.silent:
            return batch
        self.values += values
        batch.close()
        return batch


class Answer(NamedTuple):
    """An answer of the gateway."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def problem(self) -> str:
        """The name of the problem."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.body["status"] == self.status
        return str(self.body["type"]).removeprefix("urn:phonemeter:problem:")

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each event."""
        return [one["outcome"] for one in self.body["results"]]


class Door(NamedTuple):
    """A gateway that is served on loopback, without Kafka."""

    port: int
    text: str
    source: ListedKeys
    ring: KeyRing
    publisher: RecordingPublisher
    metrics: Metrics
    rates: RateLimits
    session: aiohttp.ClientSession

    def value(self, metric: str) -> float | None:
        """The value of a metric without labels."""
        return self.metrics.registry.get_sample_value(metric)

    async def post(
        self, body: object, headers: dict[str, str] = STRUCTURED, key: str | None = None
    ) -> Answer:
        """Send events with a key, by default that of the door."""
        # aiohttp warns of large bytes that are no file.
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        return await self.request("POST", "/v1/events", data, headers, key)

    async def request(
        self,
        method: str,
        path: str,
        data: io.BytesIO | None = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
    ) -> Answer:
        """Make any request."""
        text = self.text if key is None else key
        given = {**(headers or {}), **({"authorization": f"Bearer {text}"} if text else {})}
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, data=data, headers=given) as reply:
            content = await reply.read()
            is_json = "json" in reply.headers.get("content-type", "")
            found = {name.lower(): value for name, value in reply.headers.items()}
            return Answer(reply.status, found, json.loads(content) if is_json else content)


class ReadPart:
    """Endpoints that read: of an app, and of what the key is for."""

    def __init__(self) -> None:
        self.calls = 0

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        operation = {"responses": {"200": {"description": "Read."}}}
        read, both = frozenset[Any]({"read"}), frozenset[Any]({"read", "emit"})
        return [
            Endpoint("GET", "/v1/apps/{appid}/some", read, self.answer, {**operation, "operationId": "some"}),
            Endpoint("GET", "/v1/any", both, self.answer, {**operation, "operationId": "any"}),
        ]

    @property
    def schemas(self) -> Mapping[str, Any]:
        return {}

    def troubles(self) -> Sequence[str]:
        return ()

    async def run(self) -> None:
        """Has no work."""

    async def answer(self, request: Request) -> Response:
        self.calls += 1
        return JSONResponse({"apps": request.state.apps})


class SharedDoor(NamedTuple):
    """A door for all bent requests, and the part beside the events."""

    door: Door
    part: ReadPart

    @property
    def taken(self) -> int:
        """The number of times that anything was taken."""
        return self.door.publisher.calls + self.part.calls


shares_a_door = pytest.mark.asyncio(loop_scope="module")
"""The mark of tests with the fixture `shared`."""


@asynccontextmanager
async def opened(
    *,
    receive_s: float = 5,
    requests_max: int = 100,
    events_per_s: int = 100_000,
    cors: Sequence[str] = (),
    scopes: Sequence[Scope] = ("emit",),
    apps: Sequence[str] = (),
    parts: Sequence[HttpPart] = (),
    holds: HoldEnder | None = None,
    **key: int | None,
) -> AsyncIterator[Door]:
    """A door in the block; `scopes`, `apps` and `key` say what its key may do."""
    text, own = key_with(scopes, apps, **key)
    source, publisher, metrics, port = ListedKeys(own), RecordingPublisher(), Metrics(), free_port()
    ring = KeyRing(source, 60)
    await ring.read()
    rates = RateLimits(events_per_s)
    limits = RequestLimits(receive_s, requests_max)
    endpoint = EventsEndpoint(ring, publisher, rates, limits, metrics, holds=holds)
    public = public_site(endpoint, metrics, cors, Guard(ring, rates), logged=True, parts=parts)
    async with (
        served(public.web, "127.0.0.1", port, "PORT", receive_s, public.direct),
        aiohttp.ClientSession() as session,
    ):
        yield Door(port, text, source, ring, publisher, metrics, rates, session)
