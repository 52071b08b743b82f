"""The simulated gateways of a run, the clients that send through them, and what happens to both."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

from confluent_kafka import KafkaError
from starlette.requests import Request

from metering import topics
from producers.errors import UnavailableError
from producers.gateway.events_endpoint import EventsEndpoint, RequestLimits
from producers.gateway.key_ring import KeyRing
from producers.gateway.metrics import Metrics
from producers.gateway.problems import RequestProblem
from producers.gateway.publisher import RequestPublisher
from producers.gateway.rate_limits import RateLimits
from producers.librdkafka import ConnectedProducer
from producers.settings import ProducerSettings
from tests.metering.building import text_of
from tests.producers.gateway.parts import ListedKeys, key_with
from tests.simulation.bulk_client import BulkClient
from tests.simulation.events import APPS, PARTITIONS
from tests.simulation.librdkafka import Librdkafka
from tests.simulation.surroundings import Surroundings
from tests.simulation.virtual_time import Process, running_process

T = TypeVar("T")

ANSWER_S = 2.0
STALLED_S = 1.0
CLIENT_S_MAX = 8.0
"""Time after which a client takes its request for lost."""

KEY_TEXT, KEY = key_with()
METRICS = Metrics()


class Answered(NamedTuple):
    """An answer: its status, and the outcome of each event."""

    status: int
    outcomes: tuple[str, ...]


@dataclass
class Gateway:
    """One process, with the requests that wait for it."""

    process: Process
    librdkafka: Librdkafka
    endpoint: EventsEndpoint
    open: set["asyncio.Future[Answered]"] = field(default_factory=set)


class Gateways:
    """All gateways, and the news of what they answered.

    Attributes:
        accepted: partition and value of each event that was answered with `accepted`.
        lost: those of them that were not in the log at that moment.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._loop = surroundings.loop
        self._chance = surroundings.chance
        self._gateways: list[Gateway] = []
        self._librdkafka_of: dict[Process, Librdkafka] = {}
        self.accepted: list[tuple[int, bytes]] = []
        self.lost: list[bytes] = []

    def start(self, number: int) -> None:
        """Start a gateway."""
        process = Process(self._loop, f"gateway {number}")
        librdkafka = self._librdkafka_of[process] = Librdkafka(self._surroundings.kafka, process)
        ring = KeyRing(ListedKeys(KEY), 60, monotonic_s=lambda: 0.0)
        publisher = RequestPublisher(ProducerSettings(), ANSWER_S)
        limits = RequestLimits(receive_s=5, requests_max=100)
        rates = RateLimits(1_000_000, self._loop.time)
        endpoint = EventsEndpoint(ring, publisher, rates, limits, METRICS, self._now_ms)
        self._gateways.append(Gateway(process, librdkafka, endpoint))
        process.spawn(ring.read())
        process.spawn(publisher.run())

    def processes(self) -> list[Process]:
        """The running processes."""
        return [gateway.process for gateway in self._gateways]

    def clock_ms(self, partition: int) -> int:
        """The broker's time of a partition."""
        return self._surroundings.kafka.clock_ms((topics.EVENTS, partition))

    async def kill(self) -> None:
        """Kill -9; the supervisor starts it again."""
        gateway = self._chance.choice(self._gateways or [None])
        if gateway is None:
            return
        self._surroundings.count(f"kill -9 of {gateway.process.name}")
        gateway.process.kill()
        gateway.librdkafka.process_killed()
        self._gateways.remove(gateway)
        self._surroundings.dead.append(gateway.process)
        for answer in gateway.open:
            if not answer.done():
                self._surroundings.faults["request lost with its gateway"] += 1
                answer.set_exception(ConnectionResetError())
        self._surroundings.restart(self.start, int(gateway.process.name.split()[1]))

    async def freeze(self) -> None:
        """SIGSTOP; SIGCONT."""
        gateway = self._chance.choice(self._gateways or [None])
        if gateway is None or gateway.process.frozen:
            return
        seconds = self._chance.choice((1.0, 3.0, 8.0, 15.0))
        self._surroundings.count(f"freeze of {gateway.process.name} for {seconds:g} s")
        gateway.process.freeze()
        self._loop.call_later(seconds, self._thaw, gateway)

    async def send(self, values: Mapping[bytes, int], name: str | None) -> Answered:
        """Send events, given with their partitions, in one request with an Idempotency-Key or without.

        Raises:
            OSError: no answer came.
        """
        if not self._gateways:
            raise ConnectionRefusedError
        gateway = self._chance.choice(self._gateways)
        answer: asyncio.Future[Answered] = self._loop.create_future()
        gateway.open.add(answer)
        gateway.process.spawn(self._answer(gateway, _request(b"[%s]" % b",".join(values), name), answer))
        try:
            async with asyncio.timeout(CLIENT_S_MAX):
                answered = await answer
        finally:
            gateway.open.discard(answer)
        self._note(values, answered)
        return answered

    def _note(self, values: Mapping[bytes, int], answered: Answered) -> None:
        """Note what was accepted, and what of it is not in the log."""
        self._surroundings.faults[f"request answered with {answered.status}"] += 1
        for (value, partition), outcome in zip(values.items(), answered.outcomes, strict=False):
            if outcome == "accepted":
                log = self._surroundings.log(topics.EVENTS, partition)
                self.accepted.append((partition, value))
                if all(record.value != value for record in log):
                    self.lost.append(value)

    async def _answer(self, gateway: Gateway, request: Request, answer: "asyncio.Future[Answered]") -> None:
        try:
            response = await gateway.endpoint.handle(request)
        except RequestProblem as problem:
            response = problem.response()
        results = json.loads(bytes(response.body)).get("results", ())
        outcomes = tuple(one["outcome"] for one in results)
        if "idempotent-replayed" in response.headers:
            self._surroundings.faults["request answered again"] += 1
        if not answer.done():
            answer.set_result(Answered(response.status_code, outcomes))

    def _thaw(self, gateway: Gateway) -> None:
        if not gateway.process.dead:
            gateway.process.thaw()
            gateway.librdkafka.process_thawed()

    def _now_ms(self) -> int:
        return max(map(self.clock_ms, range(PARTITIONS)))

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Patch what the gateway takes from its surroundings: clock, threads, librdkafka."""
        clock = SimpleNamespace(monotonic=self._loop.time)
        with (
            patch("producers.gateway.publisher.time", clock),
            patch("producers.bulk.time", clock),
            patch("producers.gateway.publisher.STALLED_S", STALLED_S),
            patch("producers.bulk.connect", self._connect),
            patch("asyncio.to_thread", self._in_thread),
        ):
            yield

    def _connect(
        self, _settings: ProducerSettings, on_error: Callable[[KafkaError], None]
    ) -> ConnectedProducer:
        if not self._surroundings.kafka.up:
            raise UnavailableError("Kafka is away.")
        client: Any = BulkClient(self._librdkafka_of[running_process()], on_error)
        return ConnectedProducer(client, PARTITIONS, "cluster")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(self._chance.uniform(0.01, 0.2))
        return work()


class Clients:
    """Back ends that send taps, each until it is answered that they are stored, or until it gives up."""

    def __init__(self, surroundings: Surroundings, gateways: Gateways) -> None:
        self._surroundings = surroundings
        self._chance = surroundings.chance
        self._gateways = gateways
        self._sent = 0

    async def run(self, requests: int) -> None:
        """Send so many requests, several at a time."""
        async with asyncio.TaskGroup() as sending:
            for _ in range(requests):
                await asyncio.sleep(self._chance.expovariate(1.0))
                sending.create_task(self._send(self._taps()))

    def _taps(self) -> dict[bytes, int]:
        """Taps of some apps, each with an id that no other has, and their partitions."""
        taps: dict[bytes, int] = {}
        for _ in range(self._chance.choice((1, 1, 2, 5))):
            self._sent += 1
            place = self._chance.choice(sorted(APPS))
            event = {
                "specversion": "1.0",
                "id": f"http-{self._sent}",
                "source": "/simulation/http",
                "type": "phone.authorization.succeeded",
                "subject": APPS[place],
                "time": text_of(self._gateways.clock_ms(place[0])),
                "data": {"capability": "quick"},
            }
            taps[json.dumps(event).encode()] = place[0]
        return taps

    async def _send(self, taps: dict[bytes, int]) -> None:
        name = self._chance.choice((None, f"request-{self._sent}"))
        repeats = self._chance.choice((0, 0, 0, 1))
        while True:
            with suppress(OSError):
                answered = await self._gateways.send(taps, name)
                if answered.status == 200:
                    if not repeats:
                        return
                    repeats -= 1
            if self._chance.random() < 0.05:
                self._surroundings.faults["client gives up"] += 1
                return
            await asyncio.sleep(self._chance.uniform(0.1, 2.0))


def _request(body: bytes, name: str | None) -> Request:
    headers = [
        (b"authorization", b"Bearer " + KEY_TEXT.encode()),
        (b"content-type", b"application/cloudevents-batch+json"),
    ]
    if name is not None:
        headers.append((b"idempotency-key", name.encode()))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/events",
        "query_string": b"",
        "headers": headers,
        "state": {},
    }
    return Request(scope, receive)
