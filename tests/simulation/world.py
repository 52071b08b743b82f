"""One seeded run: two workers, two sinks, a broker, an engine, and faults at any moment."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

from metering import topics
from metering.partition import MeteringResult
from metering.records import Record
from tests.simulation import checks
from tests.simulation.engine import Client, Row
from tests.simulation.events import RULES, Published, log_of
from tests.simulation.settlers import Settlers
from tests.simulation.sinks import Sinks
from tests.simulation.source import SEEKS_BACK_MAX
from tests.simulation.surroundings import Surroundings
from tests.simulation.workers import Workers, restore_partitions
from tests.sinks.settler.memory_ledger import unsettled_apps

WORKERS = SINKS = SETTLERS = 2
FAULTS_PER_RUN = 10
SETTLES_S_MAX = 400.0
"""The virtual time within which everything must be stored after the last fault."""

RECORD_ENTRIES_MAX = 5
"""Limit of entries of one ledger record: those of an event are often in several."""

LATE_S = 10.0
"""The virtual time after that, in which late records may still do harm."""


class World:
    """A run; `faults` counts what happened, and `tell` gets a line for each fault."""

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _line: None) -> None:
        self.seed = seed
        self.surroundings = Surroundings(seed, tell)
        self.workers = Workers(self.surroundings)
        self.sinks = Sinks(self.surroundings)
        self.settlers = Settlers(self.surroundings)
        self._chance = self.surroundings.chance
        self._loop = self.surroundings.loop
        self._kafka = self.surroundings.kafka
        self._engine = self.surroundings.engine
        self._truths: dict[int, tuple[list[Record], MeteringResult]] = {}
        """By partition: its log, and what the rules say of it."""

    @property
    def faults(self) -> Counter[str]:
        return self.surroundings.faults

    def run(self) -> None:
        """Run everything and check the outcome.

        Raises:
            checks.WrongOutcomeError: something was lost, doubled or changed.
        """
        with _patched():
            try:
                self._loop.run_until_complete(self._run())
                self._check()
            except Exception as error:
                error.add_note(f"seed {self.seed}: python -m tests.simulation --seed {self.seed}")
                raise
            finally:
                self._loop.run_until_complete(self._clean_up())
                self._loop.close()

    def rows(self) -> list[Row]:
        """The rows of the table."""
        return self._engine.rows

    async def _run(self) -> None:
        self._start()
        publishing = asyncio.create_task(self._publish())
        for _ in range(FAULTS_PER_RUN):
            await asyncio.sleep(self._chance.expovariate(0.7))
            await FAULTS[self._chance.choice(FAULT_NAMES)](self)
        await publishing
        self._end_faults()
        await self._wait_until_stored()
        await asyncio.sleep(LATE_S)
        # What came late may have been a settlement.
        await self._wait_until_stored()

    def _start(self) -> None:
        for number in range(WORKERS):
            self.workers.start(number)
        for number in range(SINKS):
            self.sinks.start(number)
        for number in range(SETTLERS):
            self.settlers.start(number)

    async def _publish(self) -> None:
        logs = {partition: log_of(partition, self._chance) for partition in self._kafka.partitions}
        while logs:
            await asyncio.sleep(self._chance.expovariate(2.0))
            partition = self._chance.choice(sorted(logs))
            count = self._chance.choice((1, 3, 10))
            records, logs[partition] = logs[partition][:count], logs[partition][count:]
            self._append(partition, records)
            if not logs[partition]:
                del logs[partition]

    def _append(self, partition: int, records: list[Published]) -> None:
        """Publish records one by one or in a transaction, and some before that in an aborted one."""
        place = (topics.EVENTS, partition)
        way = self._chance.random()
        if way < 0.15:
            self._kafka.transact(place, records, commits=False)
        if way < 0.3:
            self._kafka.transact(place, records, commits=True)
            return
        for key, value, at_ms in records:
            self._kafka.append(*place, key, value, at_ms)
            if self._chance.random() < 0.05:
                self._kafka.faults["offsets without a record"] += 1
                self._kafka.leave_out(*place, self._chance.randint(1, 5))

    def _end_faults(self) -> None:
        self._kafka.come_back()
        self._engine.trouble = 0.0
        self._engine.restart()

    async def _wait_until_stored(self) -> None:
        until_s = self._loop.time() + SETTLES_S_MAX
        while self._loop.time() < until_s:
            failure = self.surroundings.failure
            if failure is not None:
                raise checks.WrongOutcomeError(f"a process ended by {failure!r}") from failure
            done = {
                partition: self._engine.stored(partition).offset + 1 for partition in self._kafka.partitions
            }
            ends = {partition: self._kafka.ends[topics.EVENTS, partition] for partition in done}
            stored = all(self._all_stored(partition) for partition in self._kafka.partitions)
            if stored and not unsettled_apps(self._engine.rows):
                return
            await asyncio.sleep(1.0)
        unsettled = [app.appid for app in unsettled_apps(self._engine.rows)]
        raise checks.WrongOutcomeError(
            f"only {done} of {ends} are stored after {SETTLES_S_MAX:g} s, and unsettled are {unsettled}"
        )

    def _all_stored(self, partition: int) -> bool:
        truth = self._truth(partition)
        stored, lines = self._engine.stored(partition), truth.entries
        return (
            bool(lines)
            and stored >= (lines[-1].offset, lines[-1].line)
            and self._all_published(partition, truth)
        )

    def _truth(self, partition: int) -> MeteringResult:
        """The outcome of a partition's log by the rules, metered anew only where the log has changed."""
        log = self.surroundings.log(topics.EVENTS, partition)
        known = self._truths.get(partition)
        if known is None or known[0] != log:
            known = [*log], checks.meter_without_faults(partition, log, RULES)
            self._truths[partition] = known
        return known[1]

    def _all_published(self, partition: int, truth: MeteringResult) -> bool:
        """True once alerts and dead letters are published; their entries may be stored before them."""
        try:
            checks.check_dead_letters(self.surroundings.log(topics.DEAD_LETTERS, partition), truth)
            checks.check_alerts(partition, self.surroundings.log(topics.ALERTS, partition), truth)
        except checks.WrongOutcomeError:
            return False
        return True

    def _check(self) -> None:
        for partition in self._kafka.partitions:
            log = self.surroundings.log(topics.EVENTS, partition)
            truth = self._truth(partition)
            rows = [row for row in self._engine.rows if row[0] == partition]
            checks.check_rows(partition, rows, truth)
            checks.check_balances(truth)
            checks.check_figures(partition, log, rows, RULES, truth)
            checks.check_live_balances(rows, truth)
            checks.check_dead_letters(self.surroundings.log(topics.DEAD_LETTERS, partition), truth)
            checks.check_alerts(partition, self.surroundings.log(topics.ALERTS, partition), truth)
            state, _ = self.surroundings.state_reader(
                partition, self._kafka.ends[topics.STATE, partition]
            ).newest()
            end = self._kafka.ends[topics.EVENTS, partition]
            checks.require(state.next_offset <= end, "the state is ahead of the log")
            if state.next_offset == end:
                checks.require(state.accounts == truth.state.accounts, "the stored accounts differ")

    async def crash_engine(self) -> None:
        self.surroundings.count("engine crash")
        self._engine.crash()
        self._loop.call_later(self._chance.expovariate(0.4), self._engine.restart)

    async def trouble_engine(self) -> None:
        """Disturb every second INSERT for a while."""
        self.surroundings.count("engine in trouble")
        self._engine.trouble = 0.5
        await asyncio.sleep(self._chance.uniform(0.5, 3.0))

    async def stop_kafka(self) -> None:
        self.surroundings.count("broker away")
        self._kafka.go_down()
        self._loop.call_later(self._chance.expovariate(0.4), self._kafka.come_back)

    async def compact(self) -> None:
        self.surroundings.count("compaction")
        self._kafka.compact(topics.STATE)

    async def _clean_up(self) -> None:
        for process in (
            *self.surroundings.dead,
            *self.workers.take_processes(),
            *self.sinks.processes(),
            *self.settlers.processes(),
        ):
            await process.clean_up()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


FAULTS: Final[dict[str, Callable[[World], Awaitable[None]]]] = {
    "kill_worker": lambda world: world.workers.kill(),
    "stop_worker": lambda world: world.workers.stop(),
    "freeze_worker": lambda world: world.workers.freeze(),
    "rebalance_workers": lambda world: world.workers.rebalance(),
    "forget_worker": lambda world: world.workers.forget(),
    "kill_sink": lambda world: world.sinks.kill(),
    "freeze_sink": lambda world: world.sinks.freeze(),
    "rebalance_sinks": lambda world: world.sinks.rebalance(),
    "kill_settler": lambda world: world.settlers.kill(),
    "freeze_settler": lambda world: world.settlers.freeze(),
    "crash_engine": World.crash_engine,
    "trouble_engine": World.trouble_engine,
    "stop_kafka": World.stop_kafka,
    "compact": World.compact,
}

FAULT_NAMES: tuple[str, ...] = ("kill_worker", *FAULTS)
"""The faults that are drawn from; workers are killed twice as often."""


@contextmanager
def _patched() -> Iterator[None]:
    """Patch the product's modules: simulated surroundings, and small limits."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    state = random.getstate()
    random.seed(0)
    try:
        with (
            patch("streams.ownership.restore_partitions", restore_partitions),
            patch("streams.checkpointer.CHECKPOINT_S", 1.5),
            patch("streams.checkpointer.CHECK_S", 0.5),
            patch("streams.checkpointer.CHECKPOINT_RECORDS", 8),
            patch("streams.publisher.STALLED_S", 4.0),
            patch("sinks.ledger_table.connect", Client),
            patch("sinks.ledger_table.cluster_of", lambda _engine: None),
            patch("sinks.owned_partition.SEEKS_BACK_MAX", SEEKS_BACK_MAX),
            patch("metering.ledger.RECORD_ENTRIES_MAX", RECORD_ENTRIES_MAX),
            patch("metering.remembered_ids.CHUNK_IDS", 4),
            patch("metering.settlement_events.MOVES_MAX", 2),
            patch("metering.settlement_events.PACKS_SET_MAX", 1),
            patch("metering.settlement_events.REFUNDS_MAX", 1),
        ):
            yield
    finally:
        random.setstate(state)
        logging.disable(disabled)
