"""A simulated ClickHouse: INSERTs that outlive their connections, lost replies, crashes."""

import asyncio
import random
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from metering.ledger import COLUMNS
from sinks.ledger_table import COMPARED_COLUMNS
from sinks.position import BEFORE_ALL, Position
from tests.simulation.virtual_time import OUTSIDE, VirtualTimeLoop, wait

TOKENS_MAX = 1_000
Row = tuple[Any, ...]
"""Source partition, then a line's fields in the order of `metering.ledger.COLUMNS`."""

_TIME, _RECORDED = (1 + COLUMNS.index(name) for name in ("time_ms", "recorded_at_ms"))
"""The columns of a row's times; the sink sends the second as a difference to the first."""

_PARTITION = re.compile(r"source_partition = (\d+)")
_LINE = re.compile(r"source_offset = (\d+) AND line = (\d+)")
_TOLD = [1 + COLUMNS.index(name) for name in COMPARED_COLUMNS]
_UNDER_WAY = re.compile(r"= '(\d+)'\s*$")


class Engine:
    """The ledger table, and the INSERTs that are running."""

    def __init__(self, loop: VirtualTimeLoop, chance: random.Random, faults: Counter[str]) -> None:
        self.loop = loop
        self.chance = chance
        self.faults = faults
        self.rows: list[Row] = []
        self.up = True
        self.trouble = 0.0
        """The share of INSERTs with a fault."""
        self._highest: dict[int, Position] = {}
        self._life = 0
        self._under_way: Counter[int] = Counter()
        self._tokens: OrderedDict[str, None] = OrderedDict()

    def crash(self) -> None:
        """Lose running INSERTs, and stop answering."""
        self.up = False
        self._life += 1
        if sum(self._under_way.values()):
            self.faults["engine crashed within an INSERT"] += 1
        self._under_way.clear()

    def restart(self) -> None:
        self.up = True

    def stored(self, partition: int) -> Position:
        """The highest stored position of a source partition."""
        return self._highest.get(partition, BEFORE_ALL)

    async def query(self, text: str) -> list[Row]:
        life = self._life
        await self._answer(life, 0.01)
        found = self._found(text)
        await self._answer(life, 0.02)
        return found

    async def insert(self, data: Sequence[Sequence[Any]], token: str) -> None:
        """Receive an INSERT at once, and execute, delay or lose it."""
        life, partition = self._life, int(data[0][0])
        if not self.up:
            await self._answer(life, 0.05)
        self._under_way[partition] += 1
        columns = list(data)
        columns[_RECORDED] = [time + later for time, later in zip(data[_TIME], data[_RECORDED], strict=True)]
        lines = list(zip(*columns, strict=True))
        fate = self.chance.choice(_FATES) if self.chance.random() < self.trouble else "stored"
        takes_s = self.chance.expovariate(20.0)
        if fate == "stored later":
            takes_s += self.chance.uniform(0.2, 6.0)
        keeps = fate in {"stored", "reply lost", "stored later"}
        self.loop.call_at(
            self.loop.time() + takes_s,
            self._end,
            life,
            partition,
            lines if keeps else [],
            token,
            context=OUTSIDE,
        )
        if fate != "stored":
            self.faults[f"INSERT {fate}"] += 1
            if fate != "stored later":
                await asyncio.sleep(takes_s)
            raise EOFError(fate)
        await asyncio.sleep(takes_s + self.chance.uniform(0.001, 0.02))
        self._refuse_if_gone(life)

    def _end(self, life: int, partition: int, lines: list[Row], token: str) -> None:
        if life != self._life:
            return
        self._under_way[partition] -= 1
        if not lines:
            return
        if token in self._tokens:
            self.faults["INSERT recognised by its token"] += 1
            return
        self._tokens[token] = None
        while len(self._tokens) > TOKENS_MAX:
            self._tokens.popitem(last=False)
        self.rows += lines
        last = Position(lines[-1][1], lines[-1][2])
        self._highest[partition] = max(last, self.stored(partition))

    def _found(self, text: str) -> list[Row]:
        asked = _PARTITION.search(text)
        under_way = _UNDER_WAY.search(text)
        line = _LINE.search(text)
        if asked and line:
            place = (int(asked[1]), int(line[1]), int(line[2]))
            return [tuple(row[number] for number in _TOLD) for row in self.rows if row[:3] == place]
        if asked:
            highest = self.stored(int(asked[1]))
            return [(int(highest != BEFORE_ALL), highest)]
        if under_way and "system.processes" in text:
            return [(self._under_way[int(under_way[1])],)]
        if "max(recorded_at)" in text:
            return [(len(self.rows), 0)]
        raise ValueError(f"the simulated engine does not know this query: {text}")

    async def _answer(self, life: int, mean_s: float) -> None:
        await asyncio.sleep(self.chance.expovariate(1 / mean_s))
        self._refuse_if_gone(life)

    def _refuse_if_gone(self, life: int) -> None:
        if not self.up or life != self._life:
            raise ConnectionRefusedError("the engine is away")


_FATES = ("refused", "reply lost", "stored later", "broken off")


class Client:
    """The simulated client of clickhouse-driver."""

    def __init__(self, engine: Engine, kind: type | None = None, *, consistent: bool = False) -> None:
        del kind, consistent
        self._engine = engine

    def execute(
        self,
        query: str,
        data: Sequence[Sequence[Any]] | None = None,
        *,
        columnar: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        if columnar and data is not None:
            return wait(self._engine.insert(data, str((settings or {})["insert_deduplication_token"]))) or []
        return wait(self._engine.query(query))

    def disconnect(self) -> None:
        """Do nothing: there is no connection."""
