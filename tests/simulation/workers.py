"""The simulated worker processes of a run, and what happens to them."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, cast

from aiokafka.errors import KafkaConnectionError

from kafka_access.access import KafkaAccess
from metering import topics
from metering.partition_state import WorkingState
from metering.rules import Terms
from streams.batch_step import PartitionProgress
from streams.publisher import Publisher
from streams.record_batches import RecordBatchApp
from streams.state_restore import check_rules
from streams.worker import Worker
from tests.simulation.events import PARTITIONS, TERMS
from tests.simulation.faust_app import FaustApp, WorkerGroup
from tests.simulation.surroundings import Surroundings
from tests.simulation.virtual_time import Process

HEARTBEAT_S_MAX = 2.5
"""The time from the thaw of a worker to its heartbeat: a little over the pause between heartbeats."""


class Workers:
    """All workers and their group."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._loop = surroundings.loop
        self._chance = surroundings.chance
        self._group = WorkerGroup(surroundings.kafka)
        self._apps: list[FaustApp] = []
        self._stopping: dict[FaustApp, Callable[[], Coroutine[Any, Any, None]]] = {}

    def start(self, number: int) -> None:
        """Start a worker."""
        process = Process(self._loop, f"worker {number}")
        app = FaustApp(self._group, process, lambda error: self._ended(app, number, error))
        self._apps.append(app)
        worker = Worker(
            cast("RecordBatchApp", app),
            cast("KafkaAccess", self._surroundings),
            TERMS,
            Publisher(app.librdkafka.connect),
            app,
        )
        running = process.spawn(worker.run(app.stream()))
        self._stopping[app] = partial(self._stop_in_order, app, number, worker, running)
        self._group.join(app)

    def take_processes(self) -> list[Process]:
        """The running processes, which are forgotten here: what they still do is not reported."""
        processes = [app.process for app in self._apps]
        self._apps.clear()
        return processes

    async def kill(self) -> None:
        """Kill -9; the supervisor starts it again."""
        if not self._apps:
            return
        app = self._chance.choice(self._apps)
        self._surroundings.count(f"kill -9 of {app.process.name}")
        self._end(app)
        self._surroundings.restart(self.start, int(app.process.name.split()[1]))

    async def expire(self) -> None:
        """All workers are away until Kafka has forgotten what their group committed."""
        self._surroundings.count("offsets of the workers expired")
        for app in list(self._apps):
            self._end(app)
            self._surroundings.restart(self.start, int(app.process.name.split()[1]))
        self._group.committed = dict.fromkeys(self._group.committed, 0)

    async def stop(self) -> None:
        """SIGTERM; the supervisor starts it again."""
        app = self._chance.choice(self._apps or [None])
        stop = self._stopping.pop(app, None) if app is not None else None
        if app is not None and stop is not None:
            self._surroundings.count(f"SIGTERM of {app.process.name}")
            app.process.spawn(stop())

    async def freeze(self) -> None:
        """SIGSTOP, shorter or longer than a session; SIGCONT."""
        app = self._chance.choice(self._apps or [None])
        if app is None or app.silent:
            return
        seconds = self._chance.choice((1.0, 3.0, 8.0, 15.0))
        self._surroundings.count(f"freeze of {app.process.name} for {seconds:g} s")
        app.process.freeze()
        self._group.expect_expiry(app)
        self._loop.call_later(seconds, self._thaw, app)

    async def rebalance(self) -> None:
        """Rebalance the group."""
        self._surroundings.count("workers rebalanced")
        self._group.rebalance()

    async def forget(self) -> None:
        """Remove a worker from the group; it learns of it some heartbeats later."""
        app = self._chance.choice(self._apps or [None])
        if app is None or app.silent:
            return
        self._surroundings.count(f"group forgets {app.process.name}")
        self._group.forget(app)
        self._loop.call_later(self._chance.uniform(0.5, 4.0), self._heartbeat, app)

    def _ended(self, app: FaustApp, number: int, error: BaseException) -> None:
        if app not in self._apps:
            # The process is being cleaned up.
            return
        self._surroundings.faults[f"worker stopped by {type(error).__name__}"] += 1
        self._surroundings.report(f"worker {number} stops: {error!r}")
        if type(error).__name__ not in {"StateDamagedError", "PublishRefusedError"}:
            self._surroundings.failure = error
        self._end(app)
        self._surroundings.restart(self.start, number)

    async def _stop_in_order(
        self, app: FaustApp, number: int, worker: Worker, running: "asyncio.Task[Any]"
    ) -> None:
        """Stop a worker as Faust does: let it finish, then cancel its tasks."""
        await worker.finish()
        self._surroundings.faults["worker stopped in order"] += 1
        running.cancel()
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        if app in self._apps:
            self._end(app)
            self._surroundings.restart(self.start, number)

    def _end(self, app: FaustApp) -> None:
        app.process.kill()
        app.librdkafka.process_killed()
        self._apps.remove(app)
        self._surroundings.dead.append(app.process)
        self._group.expect_expiry(app)

    def _thaw(self, app: FaustApp) -> None:
        if app.process.dead:
            return
        app.process.thaw()
        app.librdkafka.process_thawed()
        self._loop.call_later(self._chance.uniform(0.0, HEARTBEAT_S_MAX), self._heartbeat, app)

    def _heartbeat(self, app: FaustApp) -> None:
        if not (app.process.dead or app.process.frozen):
            self._group.heartbeat_of(app)


async def restore_partitions(
    surroundings: Surroundings, partitions: Collection[int], generation: int, terms: Terms
) -> dict[int, PartitionProgress]:
    """Restore partitions as `streams.state_restore` does from a real broker."""
    kafka, chance = surroundings.kafka, surroundings.chance
    ends = {partition: kafka.ends[topics.STATE, partition] for partition in partitions}
    await asyncio.sleep(chance.uniform(0.01, 0.3))
    if not kafka.up:
        raise KafkaConnectionError
    restored = {}
    for partition in partitions:
        further = chance.random() < 0.5
        end = kafka.ends[topics.STATE, partition] if further else ends[partition]
        state, layout = surroundings.state_reader(partition, end).newest()
        check_rules(partition, state, layout.terms, terms)
        layout = replace(layout.begin_epoch(generation), terms=terms)
        working_state = WorkingState.of(replace(state, partitions=PARTITIONS))
        restored[partition] = PartitionProgress.at_checkpoint(working_state, layout)
    return restored
