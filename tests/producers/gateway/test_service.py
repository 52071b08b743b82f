"""The gateway as a process, with the real broker: what it accepted is in the log, whatever is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from metering.event_validation import read_record
from metering.placement import PartitionIndex
from metering.rejections import Rejection
from tests.conftest import PARTITIONS, RunningKafka, emptied
from tests.ports import free_port
from tests.producers.gateway.parts import BATCHED, STRUCTURED, key_with, tap
from tests.producers.test_client import paused, stored
from tests.real_parts import starts_real_parts
from tests.served import asked, scraped
from tests.waiting import WITHIN_S, blocking_until, until


class RunningGateway:
    """A gateway that can be killed and started again, and a key for it."""

    def __init__(self, kafka: str, directory: Path, **settings: object) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.key, stored_key = key_with(events_per_s=1_000_000)
        self._keys = msgspec.json.encode([stored_key]).decode()
        given = {
            "KAFKA": kafka,
            "GATEWAY_PORT": self.port,
            "GATEWAY_METRICS_PORT": self.metrics_port,
            **settings,
        }
        self._environ = {**os.environ, **{f"PHONEMETER_{name}": str(value) for name, value in given.items()}}
        self.log = directory / "log"
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the process."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.producers.gateway.run_gateway", self._keys],
                env=self._environ,
                cwd=Path(__file__).parents[3],
                stderr=log,
            )
        return self.process

    def health(self) -> dict[str, Any]:
        """Its answer about itself; nothing without one."""
        with suppress(OSError):
            return dict(asked(self.metrics_port, "/healthz")[1])
        return {}

    def until(self, state: str) -> None:
        """Wait until it says that it is in a state."""
        blocking_until(lambda: self.health().get("state") == state, 2 * WITHIN_S, state)

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    async def store(self, session: aiohttp.ClientSession, body: bytes, headers: dict[str, str]) -> None:
        """Send a request again and again until it is answered that all is stored."""
        deadline_s = time.monotonic() + 2 * WITHIN_S
        while (answer := await self.post(session, body, headers))[0] != 200:
            assert answer[0] == 503, answer
            assert time.monotonic() < deadline_s, answer

    async def post(
        self, session: aiohttp.ClientSession, body: bytes, headers: dict[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request; the status, the body and the headers of the answer."""
        url = f"http://127.0.0.1:{self.port}/v1/events"
        given = {**headers, "authorization": f"Bearer {self.key}"}
        async with session.post(url, data=body, headers=given) as reply:
            found = {name.lower(): value for name, value in reply.headers.items()}
            return reply.status, await reply.json(content_type=None), found


@contextmanager
def running(kafka: str, directory: Path, **settings: object) -> Iterator[RunningGateway]:
    gateway = RunningGateway(kafka, directory, **settings)
    try:
        yield gateway
    finally:
        gateway.kill()


@pytest.fixture(scope="module")
@starts_real_parts
def broker(kafka: RunningKafka) -> RunningKafka:
    """The session's broker with the topics empty, for all tests here: each has ids of its own."""
    return emptied(kafka, PARTITIONS)


@pytest.fixture(scope="module")
@starts_real_parts
def shared(broker: RunningKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running(broker.bootstrap, tmp_path_factory.mktemp("gateway"), GATEWAY_ANSWER_S=1) as one:
        yield one


@pytest.fixture
def gateway(shared: RunningGateway) -> RunningGateway:
    """The gateway, and it is healthy."""
    shared.until("healthy")
    return shared


def ids(kafka: str) -> Counter[str]:
    """The number of times that each id is in the log."""
    return Counter(json.loads(value)["id"] for records in stored(kafka).values() for _, value in records)


def sdk_event(identifier: str) -> CloudEvent:
    event = tap(identifier, source="/Hauptstra\N{LATIN SMALL LETTER SHARP S}e 1")
    event["datacontenttype"] = "application/json"
    event["time"] = datetime.fromisoformat(event["time"])
    return CloudEvent({name: value for name, value in event.items() if name != "data"}, event["data"])


async def test_events_of_the_cloudevents_sdk_arrive_in_all_three_modes(
    gateway: RunningGateway, broker: RunningKafka
) -> None:
    async with aiohttp.ClientSession() as session:
        for make, identifier in ((to_structured_event, "structured"), (to_binary_event, "binary")):
            message = make(sdk_event(identifier))
            await gateway.store(session, message.body, dict(message.headers))
        members = [to_structured_event(sdk_event(one)).body for one in ("batch-1", "batch-2")]
        await gateway.store(session, b"[" + b",".join(members) + b"]", BATCHED)
    wanted = {"structured", "binary", "batch-1", "batch-2"}
    read = {}
    for partition, records in stored(broker.bootstrap).items():
        for key, value in records:
            event = read_record(key, value, now_ms=None, at=PartitionIndex(partition, PARTITIONS))
            assert not isinstance(event, Rejection)
            read[event.id] = event.source
    assert {read[one] for one in wanted} == {"/Hauptstra\N{LATIN SMALL LETTER SHARP S}e 1"}


async def test_what_was_accepted_is_in_the_log_though_the_gateway_is_killed_under_load(
    gateway: RunningGateway, broker: RunningKafka
) -> None:
    accepted: list[str] = []
    sent = 0

    async def send(session: aiohttp.ClientSession, ended: Callable[[], bool]) -> None:
        nonlocal sent
        while not ended():
            sent += 1
            names = [f"{sent}-{one}" for one in range(20)]
            body = json.dumps([tap(one, f"wx{sent % 7}") for one in names]).encode()
            try:
                status, _, _ = await gateway.post(session, body, BATCHED)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
                continue
            assert status in {200, 503}
            if status == 200:
                accepted.extend(names)

    async def kill(times: int) -> None:
        for _ in range(times):
            before = len(accepted)
            await until(lambda before=before: len(accepted) > before + 400, 2 * WITHIN_S)  # type: ignore[misc]
            await asyncio.to_thread(gateway.kill)
            gateway.start()

    async with aiohttp.ClientSession() as session:
        killing = asyncio.create_task(kill(2))
        await asyncio.gather(killing, *(send(session, killing.done) for _ in range(8)))
    found = ids(broker.bootstrap)
    assert len(accepted) > 800
    assert [one for one in accepted if not found[one]] == []


async def test_while_kafka_is_away_nothing_is_accepted_and_afterwards_it_goes_on_by_itself(
    gateway: RunningGateway, broker: RunningKafka
) -> None:
    def event(name: str) -> bytes:
        return json.dumps(tap(name)).encode()

    async with aiohttp.ClientSession() as session:
        with paused(broker):
            status, body, headers = await gateway.post(session, event("open"), STRUCTURED)
            assert (status, body["results"][0]["outcome"]) == (503, "unconfirmed")
            assert int(headers["retry-after"]) > 0
            await asyncio.to_thread(gateway.until, "unhealthy")
            status, body, headers = await gateway.post(session, event("refused"), STRUCTURED)
            assert (status, body["type"]) == (503, "urn:phonemeter:problem:unavailable")
            assert int(headers["retry-after"]) > 0
        await asyncio.to_thread(gateway.until, "healthy")
        await gateway.store(session, event("open"), STRUCTURED)
    found = ids(broker.bootstrap)
    assert found["refused"] == 0
    assert found["open"] >= 1


@pytest.mark.stack
def test_it_starts_without_kafka_and_says_what_it_lacks(tmp_path: Path) -> None:
    with running(f"127.0.0.1:{free_port()}", tmp_path) as gateway:
        gateway.until("unhealthy")
        assert gateway.health()["problems"][0]["promise"] == "reachable"
        assert asked(gateway.metrics_port, "/readyz")[0] == 200
        assert scraped(gateway.metrics_port)['phonemeter_gateway_healthy{promise="reachable"}'] == 0


def test_a_port_that_is_taken_is_one_sentence(gateway: RunningGateway, tmp_path: Path) -> None:
    with running("127.0.0.1:1", tmp_path, GATEWAY_PORT=gateway.port) as other:
        assert other.process.wait(2 * WITHIN_S) == 1
        assert f"Port {gateway.port} cannot be opened" in other.log.read_text()


def test_a_stop_signal_ends_it_within_seconds(gateway: RunningGateway) -> None:
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(WITHIN_S) == 0
