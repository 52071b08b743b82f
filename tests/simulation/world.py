"""One seeded run: two workers, two sinks, a broker, an engine, and faults at any moment."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any, cast
from unittest.mock import patch

from aiokafka.errors import KafkaConnectionError

from metering import topics
from metering.partition import Metered, Record, WorkingState
from sinks.batches import Limits
from sinks.errors import SinkError
from sinks.metrics import Metrics
from sinks.sink import Sink
from sinks.source import Source
from sinks.store import Store
from streams.batch_step import Held
from streams.publishing import Publisher
from streams.record_batches import RecordBatchApp
from streams.state_log import StateReader, StateRecord
from streams.worker import Worker
from tests.simulation import checks
from tests.simulation.engine import Client, Engine, Row
from tests.simulation.events import RULES, log_of
from tests.simulation.faust_app import FaustApp, WorkerGroup
from tests.simulation.kafka import Kafka
from tests.simulation.source import SEEKS_BACK_MAX, FakeSource, SinkGroup
from tests.simulation.virtual_time import OUTSIDE, Process, VirtualTimeLoop, blocking, wait

PARTITIONS = 2
WORKERS = SINKS = 2
FAULTS = 10
SETTLES_S_MAX = 400.0
"""How long after the last fault all must be stored, in the simulation's time."""

ASLEEP_S_MAX = 2.5
"""How long a worker that woke up goes on until its group hears of it: a little over a heartbeat's pause."""

LATE_S = 10.0
"""How long it goes on after that, so that what is still on its way can do its harm."""

_METRICS = Metrics()
_LIMITS = Limits(rows=12, bytes=10**6, total_bytes=10**6, age_s=0.3)


class World:
    """A run. `faults` counts what happened; `story` tells it, if it is asked for."""

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _line: None) -> None:
        self.seed = seed
        self.faults: Counter[str] = Counter()
        self.steps = 0
        self._tell = tell
        self._chance = random.Random(seed)  # noqa: S311 - a seed that replays is the point
        self._loop = VirtualTimeLoop()
        self._kafka = Kafka(self._loop, self._chance, self.faults, PARTITIONS)
        self._engine = Engine(self._loop, self._chance, self.faults)
        self._workers = WorkerGroup(self._kafka)
        self._sinks = SinkGroup(self._kafka)
        self._apps: list[FaustApp] = []
        self._stopping: dict[FaustApp, Callable[[], Coroutine[Any, Any, None]]] = {}
        self._sources: list[FakeSource] = []
        self._graves: list[Process] = []
        self._complaint: BaseException | None = None

    def run(self) -> None:
        """Let it all happen, and check what has come of it.

        Raises:
            checks.WrongOutcomeError: something was lost, doubled or changed.
        """
        with _rebuilt():
            try:
                self._loop.run_until_complete(self._live())
                self._check()
            except Exception as error:
                error.add_note(f"seed {self.seed}: python -m tests.simulation --seed {self.seed}")
                raise
            finally:
                self._loop.run_until_complete(self._bury())
                self._loop.close()

    def rows(self) -> list[Row]:
        """What the table holds."""
        return self._engine.rows

    async def _live(self) -> None:
        for number in range(WORKERS):
            self._start_worker(number)
        for number in range(SINKS):
            self._start_sink(number)
        publishing = asyncio.create_task(self._publish())
        for _ in range(FAULTS):
            await asyncio.sleep(self._chance.expovariate(0.7))
            await self._chance.choice(_INJECTIONS)(self)
        await publishing
        await self._heal()
        await self._stored()
        await asyncio.sleep(LATE_S)

    async def _publish(self) -> None:
        logs = {partition: log_of(partition, self._chance) for partition in self._kafka.partitions}
        while logs:
            await asyncio.sleep(self._chance.expovariate(2.0))
            partition = self._chance.choice(sorted(logs))
            for _ in range(self._chance.choice((1, 3, 10))):
                if logs[partition]:
                    key, value, at_ms = logs[partition].pop(0)
                    self._kafka.append(topics.EVENTS, partition, key, value, at_ms)
            if not logs[partition]:
                del logs[partition]

    async def _heal(self) -> None:
        """The end of all faults: everything answers again, everybody runs."""
        self._kafka.come_back()
        self._engine.trouble = 0.0
        self._engine.restart()

    async def _stored(self) -> None:
        until_s = self._loop.time() + SETTLES_S_MAX
        while self._loop.time() < until_s:
            if self._complaint is not None:
                raise checks.WrongOutcomeError(f"a process ended by {self._complaint!r}") from self._complaint
            done = {
                partition: self._engine.stored(partition).offset + 1 for partition in self._kafka.partitions
            }
            ends = {partition: self._kafka.ends[topics.EVENTS, partition] for partition in done}
            if all(self._all_stored(partition) for partition in self._kafka.partitions):
                return
            await asyncio.sleep(1.0)
        raise checks.WrongOutcomeError(f"stored up to {done} of {ends} when it should long be all")

    def _all_stored(self, partition: int) -> bool:
        truth = checks.undisturbed(partition, self._log(topics.EVENTS, partition), RULES)
        stored, lines = self._engine.stored(partition), truth.entries
        return (
            bool(lines)
            and stored >= (lines[-1].offset, lines[-1].line)
            and self._all_published(partition, truth)
        )

    def _all_published(self, partition: int, truth: Metered) -> bool:
        """Alerts and dead letters may still be missing when the lines beside them are stored."""
        try:
            checks.check_dead_letters(self._log(topics.DEAD_LETTERS, partition), truth)
            checks.check_alerts(partition, self._log(topics.ALERTS, partition), truth)
        except checks.WrongOutcomeError:
            return False
        return True

    def _check(self) -> None:
        for partition in self._kafka.partitions:
            log = self._log(topics.EVENTS, partition)
            truth = checks.undisturbed(partition, log, RULES)
            rows = [row for row in self._engine.rows if row[0] == partition]
            checks.check_rows(partition, rows, truth)
            checks.check_figures(log, rows, RULES)
            checks.check_dead_letters(self._log(topics.DEAD_LETTERS, partition), truth)
            checks.check_alerts(partition, self._log(topics.ALERTS, partition), truth)
            state, _ = self._reader(partition, self._kafka.ends[topics.STATE, partition]).finished()
            checks.require(state.next_offset <= len(log), "the state is ahead of the log")
            if state.next_offset == len(log):
                checks.require(state.accounts == truth.state.accounts, "the stored accounts differ")

    def _log(self, topic: str, partition: int) -> list[Record]:
        return self._kafka.logs[topic, partition]

    # What the processes run

    def _start_worker(self, number: int) -> None:
        process = Process(self._loop, f"worker {number}")
        app = FaustApp(self._workers, process, lambda error: self._worker_ended(app, number, error))
        self._apps.append(app)
        worker = Worker(
            cast("RecordBatchApp", app), cast("str", self), RULES, Publisher(app.librdkafka.connect)
        )
        running = process.spawn(worker.run(app.stream()))
        self._stopping[app] = partial(self._stop_in_order, app, number, worker, running)
        self._workers.join(app)

    def _worker_ended(self, app: FaustApp, number: int, error: BaseException) -> None:
        if app not in self._apps:
            # It is being buried: what it still does is of no consequence.
            return
        self.faults[f"worker stopped by {type(error).__name__}"] += 1
        self._note(f"worker {number} stops: {error!r}")
        if type(error).__name__ not in {"StateDamagedError", "RefusedError"}:
            self._complaint = error
        self._kill_worker(app)
        self._later(self._start_worker, number)

    async def _stop_in_order(
        self, app: FaustApp, number: int, worker: Worker, running: "asyncio.Task[Any]"
    ) -> None:
        """What Faust does when it is told to stop: tell the worker, then end what it still does."""
        await worker.finish()
        self.faults["worker ended in order"] += 1
        running.cancel()
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        if app in self._apps:
            self._kill_worker(app)
            self._later(self._start_worker, number)

    def _kill_worker(self, app: FaustApp) -> None:
        app.process.kill()
        app.librdkafka.process_killed()
        self._apps.remove(app)
        self._graves.append(app.process)
        self._workers.lose(app)

    def _start_sink(self, number: int) -> None:
        process = Process(self._loop, f"sink {number}")
        source = FakeSource(self._sinks, process)
        self._sources.append(source)
        store = Store(cast("str", self._engine), sleep=lambda seconds: wait(asyncio.sleep(seconds)))
        sink = Sink(cast("Source", source), store, _LIMITS, _METRICS, _Never(), self._loop.time)
        process.spawn(self._run_sink(sink, source, number))
        self._sinks.join(source)

    async def _run_sink(self, sink: Sink, source: FakeSource, number: int) -> None:
        try:
            await blocking(sink.run)
        except SinkError as error:
            self.faults["sink ended by itself"] += 1
            self._note(f"sink {number} ends: {error}")
            self._kill_sink(source)
            self._later(self._start_sink, number)
        except Exception as error:  # noqa: BLE001 - any other end is a finding
            self._complaint = error

    def _kill_sink(self, source: FakeSource) -> None:
        source.process.kill()
        source.writing = False
        self._sources.remove(source)
        self._graves.append(source.process)
        self._sinks.lose(source)

    def _later(self, start: Callable[[int], None], number: int) -> None:
        """What the supervisor does."""
        at_s = self._loop.time() + self._chance.uniform(0.2, 4.0)
        self._loop.call_at(at_s, start, number, context=OUTSIDE)

    async def read_held(self, partitions: Collection[int], generation: int) -> dict[int, Held]:
        """What `streams.state_reading` does on the real broker."""
        ends = {partition: self._kafka.ends[topics.STATE, partition] for partition in partitions}
        await asyncio.sleep(self._chance.uniform(0.01, 0.3))
        if not self._kafka.up:
            raise KafkaConnectionError
        held = {}
        for partition in partitions:
            further = self._chance.random() < 0.5
            end = self._kafka.ends[topics.STATE, partition] if further else ends[partition]
            state, placement = self._reader(partition, end).finished()
            held[partition] = Held.stored(WorkingState.of(state), placement.taken_over(generation))
        return held

    def _reader(self, partition: int, end: int) -> StateReader:
        reader = StateReader(partition)
        log = self._log(topics.STATE, partition)
        reader.add(StateRecord(record.key or b"", record.value) for record in log if record.offset < end)
        return reader

    # Faults

    async def kill_worker(self) -> None:
        """Kill -9; the supervisor starts it again."""
        if not self._apps:
            return
        app = self._chance.choice(self._apps)
        number = int(app.process.name.split()[1])
        self._happens(f"kill -9 of {app.process.name}")
        self._kill_worker(app)
        self._later(self._start_worker, number)

    async def stop_worker(self) -> None:
        """SIGTERM; the supervisor starts it again."""
        app = self._chance.choice(self._apps or [None])
        stop = self._stopping.pop(app, None) if app is not None else None
        if app is not None and stop is not None:
            self._happens(f"SIGTERM of {app.process.name}")
            app.process.spawn(stop())

    async def freeze_worker(self) -> None:
        """SIGSTOP, shorter or longer than a session; SIGCONT."""
        app = self._chance.choice(self._apps or [None])
        if app is None or app.silent:
            return
        seconds = self._chance.choice((1.0, 3.0, 8.0, 15.0))
        self._happens(f"freeze of {app.process.name} for {seconds:g} s")
        app.process.freeze()
        self._workers.lose(app)
        self._loop.call_later(seconds, self._thaw_worker, app)

    def _thaw_worker(self, app: FaustApp) -> None:
        if app.process.dead:
            return
        app.process.thaw()
        app.librdkafka.process_thawed()
        self._loop.call_later(self._chance.uniform(0.0, ASLEEP_S_MAX), self._found_worker, app)

    def _found_worker(self, app: FaustApp) -> None:
        if not (app.process.dead or app.process.frozen):
            self._workers.found(app)

    async def divide_workers(self) -> None:
        self._happens("workers' partitions divided anew")
        self._workers.divide()

    async def forget_worker(self) -> None:
        """The group goes on without a worker, which hears of it some heartbeats later."""
        app = self._chance.choice(self._apps or [None])
        if app is None or app.silent:
            return
        self._happens(f"group forgets {app.process.name}")
        self._workers.forget(app)
        self._loop.call_later(self._chance.uniform(0.5, 4.0), self._found_worker, app)

    async def kill_sink(self) -> None:
        """Kill -9; the supervisor starts it again."""
        if not self._sources:
            return
        source = self._chance.choice(self._sources)
        number = int(source.process.name.split()[1])
        self._happens(f"kill -9 of {source.process.name}")
        self._kill_sink(source)
        self._later(self._start_sink, number)

    async def freeze_sink(self) -> None:
        """SIGSTOP, shorter or longer than a session; SIGCONT."""
        source = self._chance.choice(self._sources or [None])
        if source is None or source.silent:
            return
        seconds = self._chance.choice((1.0, 3.0, 8.0, 15.0))
        self._happens(f"freeze of {source.process.name} for {seconds:g} s")
        source.process.freeze()
        self._sinks.lose(source)
        self._loop.call_later(seconds, self._thaw_sink, source)

    def _thaw_sink(self, source: FakeSource) -> None:
        if source.process.dead:
            return
        source.process.thaw()
        self._loop.call_later(self._chance.uniform(0.0, 4.0), self._found_sink, source)

    def _found_sink(self, source: FakeSource) -> None:
        if not (source.process.dead or source.process.frozen):
            self._sinks.found(source)

    async def divide_sinks(self) -> None:
        self._happens("sinks' partitions divided anew")
        self._sinks.divide()

    async def crash_engine(self) -> None:
        self._happens("engine crash")
        self._engine.crash()
        self._loop.call_later(self._chance.expovariate(0.4), self._engine.restart)

    async def trouble_engine(self) -> None:
        """For a while something happens to every second INSERT."""
        self._happens("engine in trouble")
        self._engine.trouble = 0.5
        await asyncio.sleep(self._chance.uniform(0.5, 3.0))

    async def stop_kafka(self) -> None:
        self._happens("broker away")
        self._kafka.go_down()
        self._loop.call_later(self._chance.expovariate(0.4), self._kafka.come_back)

    async def compact(self) -> None:
        self._happens("compaction")
        self._kafka.compact(topics.STATE)

    def _happens(self, what: str) -> None:
        self.faults[what.partition(" for ")[0].rstrip(" 0123456789")] += 1
        self._note(what)

    def _note(self, what: str) -> None:
        self._tell(f"{self._loop.time():8.3f}  {what}")

    async def _bury(self) -> None:
        processes = (*self._graves, *(x.process for x in self._apps), *(x.process for x in self._sources))
        self._apps.clear()
        for process in processes:
            await process.bury()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


_INJECTIONS = (
    World.kill_worker,
    World.kill_worker,
    World.stop_worker,
    World.freeze_worker,
    World.divide_workers,
    World.forget_worker,
    World.kill_sink,
    World.freeze_sink,
    World.divide_sinks,
    World.crash_engine,
    World.trouble_engine,
    World.stop_kafka,
    World.compact,
)


class _Never(Event):
    """An order to stop that never comes, waited for in the simulation's time."""

    def wait(self, timeout: float | None = None) -> bool:
        wait(asyncio.sleep(timeout or 0.0))
        return False


async def _read_held(
    world: World, partitions: Collection[int], _reached: Mapping[int, int], generation: int
) -> dict[int, Held]:
    return await world.read_held(partitions, generation)


@contextmanager
def _rebuilt() -> Iterator[None]:
    """The product's modules, with this world in the places of the real one, and small limits."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    state = random.getstate()
    random.seed(0)
    try:
        with (
            patch("streams.worker.read_held", _read_held),
            patch("streams.worker.STORE_S", 1.5),
            patch("streams.worker.STORE_LOOK_S", 0.5),
            patch("streams.worker.STORE_RECORDS", 8),
            patch("sinks.store.connect", Client),
            patch("sinks.sink.SEEKS_BACK_MAX", SEEKS_BACK_MAX),
            patch("metering.ledger.RECORD_ENTRIES_MAX", 5),
            patch("metering.duplicates.CHUNK_IDS", 4),
        ):
            yield
    finally:
        random.setstate(state)
        logging.disable(disabled)
