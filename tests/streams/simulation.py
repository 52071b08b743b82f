"""A worker on a fake broker, in one seeded process: real rules, real batch step, faults at every boundary.

The broker keeps topics as lists and takes records one by one, so that a crash can fall between any two.
Deliveries are as untrustworthy as Faust's were seen to be: they start behind or ahead of what comes next.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

from metering import topics
from metering.ledger import Entry, decode_rows
from metering.partition import OffsetGapError, Record
from metering.rules import Rules
from streams.batch_step import Held, Outgoing, carry_out, claim, plan
from streams.state_log import StateReader, StateRecord

PARTITION = 0


class Crash(Exception):  # noqa: N818 - a fault that is injected, not an error that is reported
    """The process is gone; what it held in memory with it."""


class Broker:
    """Topics as lists.

    `fuse` is how many more records it takes before the publishing process dies or loses its partition; what
    was behind the fuse stays `in_flight` and may still arrive, late.
    """

    def __init__(self) -> None:
        self.topics: dict[str, list[Outgoing]] = {topic.name: [] for topic in topics.ALL}
        self.committed = 0
        self.fuse: int | None = None
        self.in_flight: list[Outgoing] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        for at, record in enumerate(records):
            if self.fuse == 0:
                self.fuse = None
                self.in_flight = list(records[at:])
                raise Crash
            if self.fuse is not None:
                self.fuse -= 1
            self.topics[record.topic].append(record)

    def arrive(self) -> None:
        """What the process before this one had in flight arrives after all."""
        for record in self.in_flight:
            self.topics[record.topic].append(record)
        self.in_flight = []

    def compact(self) -> None:
        """Keep only the newest record of each key of the state topic."""
        state = self.topics[topics.STATE]
        newest = {record.key: at for at, record in enumerate(state)}
        self.topics[topics.STATE] = [record for at, record in enumerate(state) if newest[record.key] == at]

    def held(self, now_ms: int) -> Held:
        """What a worker that takes the partition over reads back."""
        reader = StateReader(PARTITION)
        reader.add(StateRecord(record.key or b"", record.value) for record in self.topics[topics.STATE])
        state, placement = reader.finished()
        return Held(state, placement.taken_over(now_ms))


class Simulation:
    """One seeded run over a log, until all of it is metered and committed."""

    def __init__(self, seed: int, log: Sequence[Record], rules: Rules) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seed that replays is the point
        self._log = log
        self._rules = rules
        self.broker = Broker()
        self.faults: Counter[str] = Counter()
        self._clock_ms = 0

    def run(self) -> None:
        """Run workers, one after the other, until the log is metered."""
        while self.broker.committed < len(self._log):
            try:
                asyncio.run(self._work())
            except Crash:
                self.faults["crash"] += 1
                if self._random.random() < 0.5:
                    self.broker.in_flight = []

    def ledger(self) -> list[Entry]:
        """The published entries, each identity once.

        Raises:
            AssertionError: an entry was published twice with different contents, or out of order.
        """
        seen: dict[tuple[int, int], Entry] = {}
        for record in self.broker.topics[topics.LEDGER]:
            for row in decode_rows(record.value or b"").rows:
                entry = Entry(*row)
                known = seen.setdefault((entry.offset, entry.line), entry)
                assert known == entry, f"published twice, differently: {known} and {entry}"
                self.faults["published twice"] += known is not entry
        assert list(seen) == sorted(seen), "identities first appear out of order"
        return list(seen.values())

    async def _work(self) -> None:
        """A worker's life: from reading its state back to the end of the log or a crash."""
        self._clock_ms += 1
        held = self.broker.held(self._clock_ms)
        self._light_fuse(1)
        await self.broker.publish([claim(held)])
        position = self.broker.committed
        while position < len(self._log):
            position = self._delivered_from(position)
            batch = self._log[position : position + self._random.choice([1, 2, 5, 20])]
            try:
                work = plan(held, batch, self._rules)
            except OffsetGapError as gap:
                self.faults["gap noticed"] += 1
                position = gap.expected
                continue
            position = batch[-1].offset + 1
            if self.broker.in_flight and self._random.random() < 0.3:
                self.faults["zombie"] += 1
                self.broker.arrive()
            if self._random.random() < 0.1:
                self.faults["compaction"] += 1
                self.broker.compact()
            if work is None:
                self.faults["rewind skipped"] += 1
                continue
            self._light_fuse(len(work.outcome))
            held = await carry_out(work, self.broker.publish)
            self.broker.fuse = None
            if self._random.random() < 0.1:
                self.faults["crash before commit"] += 1
                raise Crash
            if self._random.random() < 0.6:
                self.broker.committed = held.state.next_offset
        self.broker.committed = held.state.next_offset

    def _delivered_from(self, position: int) -> int:
        """Where the next delivery really starts: mostly where it should."""
        fault = self._random.random()
        if fault < 0.1:
            self.faults["skip forward"] += 1
            return min(len(self._log) - 1, position + self._random.randint(1, 30))
        if fault < 0.2:
            self.faults["rewind"] += 1
            return max(0, position - self._random.randint(1, 30))
        return position

    def _light_fuse(self, records: int) -> None:
        """Let the process die somewhere between the first record of the outcome and after the header."""
        if self._random.random() < 0.15:
            self.broker.fuse = self._random.randint(0, records + 1)
