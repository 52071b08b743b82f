"""The surroundings of the simulated processes: clock, random numbers, broker, engine, and the report."""

import random
from collections import Counter
from collections.abc import Callable

from metering import topics
from metering.records import Record
from streams.state_log import StateReader, StateRecord
from tests.simulation.engine import Engine
from tests.simulation.events import PARTITIONS
from tests.simulation.kafka import Kafka
from tests.simulation.virtual_time import OUTSIDE, Process, VirtualTimeLoop


class Surroundings:
    """Everything that the processes of one run share: their faults, failure and deaths."""

    def __init__(self, seed: int, tell: Callable[[str], None]) -> None:
        self.faults: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.dead: list[Process] = []
        self.chance = random.Random(seed)  # noqa: S311 - a seed that replays is the point
        self.loop = VirtualTimeLoop()
        self.kafka = Kafka(self.loop, self.chance, self.faults, PARTITIONS)
        self.engine = Engine(self.loop, self.chance, self.faults)
        self._tell = tell

    def log(self, topic: str, partition: int) -> list[Record]:
        """The records of a partition that can be read."""
        return self.kafka.logs[topic, partition]

    def state_reader(self, partition: int, end: int) -> StateReader:
        """A reader of a partition of the state topic, up to an offset."""
        reader = StateReader(partition)
        log = self.log(topics.STATE, partition)
        reader.add(StateRecord(record.key or b"", record.value) for record in log if record.offset < end)
        return reader

    def restart(self, start: Callable[[int], None], number: int) -> None:
        """Restart a process after a while, as the supervisor does."""
        at_s = self.loop.time() + self.chance.uniform(0.2, 4.0)
        self.loop.call_at(at_s, start, number, context=OUTSIDE)

    def count(self, fault: str) -> None:
        """Count and report an injected fault, without the number of its process and its duration."""
        self.faults[fault.partition(" for ")[0].rstrip(" 0123456789")] += 1
        self.report(fault)

    def report(self, what: str) -> None:
        """Report what happens, with the virtual time."""
        self._tell(f"{self.loop.time():8.3f}  {what}")
