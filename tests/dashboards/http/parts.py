"""The reads for tests: a part on a ClickHouse, without Kafka, and what stands in place of its neighbours."""

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec
from jsonschema import Draft202012Validator

from dashboards.http.errors import NothingFoundError
from dashboards.http.events import StoredEvents, event_not_found
from dashboards.http.examples import EXAMPLES
from dashboards.http.freshness import LogProgress
from dashboards.http.metrics import ReadsMetrics
from dashboards.http.openapi import READS
from dashboards.http.part import ReadsPart
from dashboards.http.pool import LedgerConnection, ReadPool
from dashboards.http.reads import Reads
from phonemeter.reads.connection import ReadOnlyConnection
from producers.gateway.openapi import document
from sinks.entry_columns import shorten_ids
from tests.producers.gateway.parts import Door, opened

NOW_MS = 1_792_000_000_000
ID_DIGITS = 32


class ScriptedProgress:
    """In place of Kafka: nothing waits, or it is away."""

    def __init__(self) -> None:
        self.away = False
        self.held: threading.Event | None = None

    def progress(self) -> LogProgress:
        if self.held is not None:
            self.held.wait()
        if self.away:
            raise ConnectionError("Kafka is away.")
        return LogProgress(NOW_MS - 1_000, {0: 10}, {0: 10}, {0: 5}, {0: 5})


class ScriptedExplainer:
    """In place of a process: explains every event as the example, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.failure: Exception | None = None

    async def explain(self, appid: str, event_id: str) -> bytes:
        self.asked.append((appid, event_id))
        if self.failure is not None:
            raise self.failure
        story: dict[str, Any] = msgspec.to_builtins(EXAMPLES["event"])
        for name in ("as_of", "runs_on", "complete_until", "explained"):
            del story[name]
        if event_id.endswith("gone"):
            raise NothingFoundError(event_not_found(event_id))
        return msgspec.json.encode({**story, "appid": appid, "event_id": event_id})


class ServedReads(NamedTuple):
    """A door with the reads behind it."""

    door: Door
    part: ReadsPart
    pool: ReadPool
    explainer: ScriptedExplainer
    progress: ScriptedProgress
    metrics: ReadsMetrics

    async def get(self, path: str, **more: Any) -> Any:  # noqa: ANN401 - an answer of any shape
        """The content of an answer, which is as the document says."""
        answer = await self.door.request("GET", path, **more)
        assert answer.status == 200, answer
        check(self.part, path, answer.body)
        return answer.body


@asynccontextmanager
async def reading(
    connect: str | Callable[[], LedgerConnection],
    *,
    apps: tuple[str, ...] = (),
    scopes: tuple[Any, ...] = ("read",),
    connections: int = 2,
    waiting_max: int = 8,
    answer_s: float = 30,
) -> AsyncIterator[ServedReads]:
    """The reads on a ClickHouse, served with a key."""
    make = partial(ReadOnlyConnection, connect, answer_s) if isinstance(connect, str) else connect
    pool = ReadPool(make, connections, waiting_max, answer_s)
    explainer, progress, metrics = ScriptedExplainer(), ScriptedProgress(), ReadsMetrics()
    events = StoredEvents(lambda event_id: shorten_ids((event_id,), ID_DIGITS)[0])
    part = ReadsPart(Reads(pool, events, explainer), pool, progress, metrics, lambda: NOW_MS)
    async with opened(parts=[part], scopes=scopes, apps=apps) as door:
        yield ServedReads(door, part, pool, explainer, progress, metrics)
    pool.close()


def check(part: ReadsPart, path: str, answer: object) -> None:
    """Hold an answer against the document's schema of its path; it has nothing that is not described."""
    schemas = {
        name: {**schema, "additionalProperties": False} if "properties" in schema else schema
        for name, schema in document([part])["components"]["schemas"].items()
    }
    name = READS[read_of(path)].answer.__name__
    Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    ).validate(answer)


def read_of(path: str) -> str:
    """The name of the read at a path."""
    parts = path.partition("?")[0].removeprefix("/v1/").split("/")
    return {1: "apps", 2: "event" if parts[0] == "events" else "app"}.get(len(parts), parts[-1])


def rows_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a page."""
    (rows,) = (value for value in answer.values() if isinstance(value, list))
    found: list[dict[str, Any]] = rows
    return found
