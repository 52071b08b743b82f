"""The simulated settler processes of a run, and what happens to them."""

import asyncio
from collections.abc import Sequence
from threading import Event
from typing import cast

from aiokafka.errors import RequestTimedOutError
from kafka.errors import KafkaTimeoutError

from metering import topics
from sinks.errors import ClickHouseError
from sinks.settler.ledger import SettlerLedger
from sinks.settler.metrics import Metrics
from sinks.settler.settler import Settler
from sinks.settler.work import AppWork
from tests.simulation.engine import Row
from tests.simulation.events import RULES
from tests.simulation.surroundings import Surroundings
from tests.simulation.virtual_time import OUTSIDE, Process, blocking, wait
from tests.sinks.settler.memory_ledger import MemoryLedger

_METRICS = Metrics()
PAUSE_S = 0.5


class Settlers:
    """All settlers. They form no group: each settles every app that it finds unsettled."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._loop = surroundings.loop
        self._chance = surroundings.chance
        self._processes: list[Process] = []

    def start(self, number: int) -> None:
        """Start a settler."""
        process = Process(self._loop, f"settler {number}")
        self._processes.append(process)
        ledger = FakeLedger(self._surroundings)
        settler = Settler(
            ledger,
            FakePublisher(self._surroundings),
            AppWork(cast("SettlerLedger", ledger), lambda: RULES, 10_000),
            _METRICS,
            _Never(),
            PAUSE_S,
            self._loop.time,
        )
        process.spawn(self._run(settler))

    def processes(self) -> list[Process]:
        """The running processes."""
        return list(self._processes)

    async def kill(self) -> None:
        """Kill -9; the supervisor starts it again."""
        process = self._chance.choice(self._processes or [None])
        if process is None:
            return
        self._surroundings.count(f"kill -9 of {process.name}")
        process.kill()
        self._processes.remove(process)
        self._surroundings.dead.append(process)
        self._surroundings.restart(self.start, int(process.name.split()[1]))

    async def freeze(self) -> None:
        """SIGSTOP; SIGCONT. What it has read is old then."""
        process = self._chance.choice(self._processes or [None])
        if process is None or process.frozen:
            return
        seconds = self._chance.choice((1.0, 3.0, 8.0, 15.0))
        self._surroundings.count(f"freeze of {process.name} for {seconds:g} s")
        process.freeze()
        self._loop.call_later(seconds, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        if not process.dead:
            process.thaw()

    async def _run(self, settler: Settler) -> None:
        try:
            await blocking(settler.run)
        except Exception as error:  # noqa: BLE001 - any end is a finding
            self._surroundings.failure = error


class FakeLedger(MemoryLedger):
    """The simulated table, read while it changes."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(self._read)
        self._engine = surroundings.engine

    def _read(self) -> list[Row]:
        """The rows of the table at one moment during a query."""
        try:
            wait(self._engine.query("SELECT count(), max(recorded_at) FROM ledger"))
        except OSError as error:
            raise ClickHouseError(str(error)) from error
        return list(self._engine.rows)


class FakePublisher:
    """Stands in for `sinks.settler.publisher.SettlementsPublisher`: its records get lost, or come late."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._kafka = surroundings.kafka

    def publish(self, appid: str, partition: int, events: Sequence[bytes]) -> None:
        for event in events:
            self._publish(appid.encode(), partition, event)

    def _publish(self, key: bytes, partition: int, event: bytes) -> None:
        chance, faults = self._kafka.chance, self._surroundings.faults
        try:
            wait(self._kafka.answer())
        except RequestTimedOutError as error:
            raise KafkaTimeoutError("the broker is away") from error
        drawn = chance.random()
        if drawn < 0.05:
            faults["settlement lost"] += 1
            raise KafkaTimeoutError("the record was not taken")
        if drawn < 0.10:
            faults["settlement arrives late"] += 1
            at_s = self._kafka.loop.time() + chance.uniform(0.5, 5.0)
            self._kafka.loop.call_at(at_s, self._append, key, partition, event, context=OUTSIDE)
            raise KafkaTimeoutError("not confirmed in time")
        self._append(key, partition, event)
        if drawn < 0.15:
            faults["settlement published twice"] += 1
            self._append(key, partition, event)
        faults["settlement published"] += 1

    def _append(self, key: bytes, partition: int, event: bytes) -> None:
        log = self._kafka.logs[topics.EVENTS, partition]
        at_ms = max((record.recorded_at_ms or 0 for record in log), default=0)
        self._kafka.append(topics.EVENTS, partition, key, event, at_ms)


class _Never(Event):
    """An event that is never set, whose waits are in virtual time."""

    def wait(self, timeout: float | None = None) -> bool:
        wait(asyncio.sleep(timeout or 0.0))
        return False
