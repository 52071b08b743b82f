"""The simulated sink processes of a run, and what happens to them."""

import asyncio
from threading import Event
from typing import cast

from sinks.batches import Limits
from sinks.errors import SinkError
from sinks.ledger_source import LedgerSource
from sinks.ledger_table import LedgerTable
from sinks.metrics import Metrics
from sinks.sink import Sink
from tests.simulation.source import FakeSource, SinkGroup
from tests.simulation.surroundings import Surroundings
from tests.simulation.virtual_time import Process, blocking, wait

_METRICS = Metrics()
_LIMITS = Limits(rows=12, bytes=10**6, total_bytes=10**6, age_s=0.3)


class Sinks:
    """All sinks and their group."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._loop = surroundings.loop
        self._chance = surroundings.chance
        self._group = SinkGroup(surroundings.kafka)
        self._sources: list[FakeSource] = []

    def start(self, number: int) -> None:
        """Start a sink."""
        process = Process(self._loop, f"sink {number}")
        source = FakeSource(self._group, process)
        self._sources.append(source)
        table = LedgerTable(
            cast("str", self._surroundings.engine), sleep=lambda seconds: wait(asyncio.sleep(seconds))
        )
        sink = Sink(cast("LedgerSource", source), table, _LIMITS, _METRICS, _Never(), self._loop.time)
        process.spawn(self._run(sink, source, number))
        self._group.join(source)

    def processes(self) -> list[Process]:
        """The running processes."""
        return [source.process for source in self._sources]

    async def kill(self) -> None:
        """Kill -9; the supervisor starts it again."""
        if not self._sources:
            return
        source = self._chance.choice(self._sources)
        self._surroundings.count(f"kill -9 of {source.process.name}")
        self._end(source)
        self._surroundings.restart(self.start, int(source.process.name.split()[1]))

    async def expire(self) -> None:
        """All sinks are away until Kafka has forgotten what their group committed."""
        self._surroundings.count("offsets of the sinks expired")
        for source in list(self._sources):
            self._end(source)
            self._surroundings.restart(self.start, int(source.process.name.split()[1]))
        self._group.committed.clear()

    async def freeze(self) -> None:
        """SIGSTOP, shorter or longer than a session; SIGCONT."""
        source = self._chance.choice(self._sources or [None])
        if source is None or source.silent:
            return
        seconds = self._chance.choice((1.0, 3.0, 8.0, 15.0))
        self._surroundings.count(f"freeze of {source.process.name} for {seconds:g} s")
        source.process.freeze()
        self._group.expect_expiry(source)
        self._loop.call_later(seconds, self._thaw, source)

    async def rebalance(self) -> None:
        """Rebalance the group."""
        self._surroundings.count("sinks rebalanced")
        self._group.rebalance()

    async def _run(self, sink: Sink, source: FakeSource, number: int) -> None:
        try:
            await blocking(sink.run)
        except SinkError as error:
            self._surroundings.faults["sink ended by itself"] += 1
            self._surroundings.report(f"sink {number} ends: {error}")
            self._end(source)
            self._surroundings.restart(self.start, number)
        except Exception as error:  # noqa: BLE001 - any other end is a finding
            self._surroundings.failure = error

    def _end(self, source: FakeSource) -> None:
        source.process.kill()
        source.is_writing = False
        self._sources.remove(source)
        self._surroundings.dead.append(source.process)
        self._group.expect_expiry(source)

    def _thaw(self, source: FakeSource) -> None:
        if source.process.dead:
            return
        source.process.thaw()
        self._loop.call_later(self._chance.uniform(0.0, 4.0), self._heartbeat, source)

    def _heartbeat(self, source: FakeSource) -> None:
        if not (source.process.dead or source.process.frozen):
            self._group.heartbeat_of(source)


class _Never(Event):
    """An event that is never set, whose waits are in virtual time."""

    def wait(self, timeout: float | None = None) -> bool:
        wait(asyncio.sleep(timeout or 0.0))
        return False
