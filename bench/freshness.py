"""Latency from publishing an event to its ledger record, and to its row in ClickHouse.

Events are published one by one at a steady rate, by an ordinary client that does not wait for more to send.
An event's time begins when it was due to be published, so that a stall of anything, the publisher included,
counts in full. The ledger's time is when a consumer has the record in hand; ClickHouse's is when the reply to
a query that sees the event has arrived. Everything runs as it is shipped, with the clock ticking.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.figures import Figure, percentile, tell
from bench.kafka_log import ends, metered_up_to, partition_of, publish, reading
from bench.measuring import ledger_difference
from bench.processes import Program, program, stack
from bench.stored import StoredLedger, stored_difference
from bench.traffic import APPS, Event, Times, events
from metering import topics
from metering.ledger import decode_rows
from phonemeter.settings import Settings

EVENTS_PER_S: Final = 1_000
WARM_UP_S: Final = 5
LEDGER_TARGET_MS: Final = 500.0
CLICKHOUSE_TARGET_MS: Final = 2_000.0
LOOK_S: Final = 0.02
SETTLE_S_MAX: Final = 60.0
TICKS_S: Final = 3_600
PROGRAMS: Final[tuple[Literal["sink", "worker"], ...]] = ("sink", "worker")
STAGES: Final = ("published to on the broker", "to metered", "to readable", "to visible in ClickHouse")


@dataclass
class ArrivalTimes:
    """Arrival times of the events of the measured time, in Unix seconds."""

    due_s: dict[str, float] = field(default_factory=dict)
    ledger_ms: list[float] = field(default_factory=list)
    clickhouse_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    waiting: dict[int, deque[tuple[int, float, float]]] = field(default_factory=lambda: defaultdict(deque))
    """By partition the events that ClickHouse is still to show: offset, due, seen in the ledger."""

    def in_ledger(self, partition: int, value: bytes, written_ms: int) -> None:
        """Take note of a ledger record that has just arrived."""
        now_s = time.time()
        record = decode_rows(value)
        names = ("offset", "kind", "event_id", "recorded_at_ms")
        places = [record.columns.index(name) for name in names]
        for row in record.rows:
            offset, kind, event_id, recorded_at_ms = (row[place] for place in places)
            due_s = self.due_s.pop(event_id, None) if kind != "duplicate" else None
            if due_s is None:
                continue
            self.ledger_ms.append((now_s - due_s) * 1_000)
            self.waiting[partition].append((offset, due_s, now_s))
            self._stage(0, recorded_at_ms - due_s * 1_000)
            self._stage(1, written_ms - recorded_at_ms)
            self._stage(2, now_s * 1_000 - written_ms)

    def in_clickhouse(self, stored_up_to: dict[int, int]) -> None:
        """Take note of how far ClickHouse is now."""
        now_s = time.time()
        for partition, end in stored_up_to.items():
            waiting = self.waiting[partition]
            while waiting and waiting[0][0] < end:
                _, due_s, in_ledger_s = waiting.popleft()
                self.clickhouse_ms.append((now_s - due_s) * 1_000)
                self._stage(3, (now_s - in_ledger_s) * 1_000)

    def _stage(self, number: int, took_ms: float) -> None:
        self.stages_ms[STAGES[number]].append(took_ms)


def figures(seconds: int, runs: int, rate: int = EVENTS_PER_S) -> Iterator[Figure]:
    """The 99th percentiles, with the others beside them, and where the time goes."""
    found = [measure(seconds, rate) for _ in range(runs)]
    correct = all(right for _, right in found)
    for name, target_ms in (("ledger", LEDGER_TARGET_MS), ("ClickHouse", CLICKHOUSE_TARGET_MS)):
        taken = [seen.ledger_ms if name == "ledger" else seen.clickhouse_ms for seen, _ in found]
        yield Figure(
            figure=f"freshness: publish to {name}, p99",
            values=tuple(percentile(took_ms, 0.99) for took_ms in taken),
            unit="ms",
            target=target_ms,
            correct=correct,
            under={"events_per_s": rate, "seconds": seconds, "apps": APPS, **_summary(taken[-1])},
        )
    for stage in STAGES:
        taken = [seen.stages_ms[stage] for seen, _ in found]
        yield Figure(
            figure=f"freshness: stage, {stage}, p99",
            values=tuple(percentile(took_ms, 0.99) for took_ms in taken),
            unit="ms",
            correct=correct,
            under={"events_per_s": rate, "seconds": seconds, **_summary(taken[-1])},
        )


def measure(seconds: int, rate: int = EVENTS_PER_S) -> tuple[ArrivalTimes, bool]:
    """One run: when the events were where, and whether both ledgers are right."""
    # A tick leaves no line by which to know that it was metered, so none may be the last record of a log.
    wall = {"clock": "wall", "tick_interval_s": TICKS_S}
    with stack("kafka", "engine", **wall) as (settings, _), ExitStack() as working:
        programs = [working.enter_context(program(settings, name)) for name in PROGRAMS]
        for one in programs:
            one.wait_ready()
        seen = asyncio.run(_measured(settings, programs, seconds, rate))
        wrong = asyncio.run(ledger_difference(settings.kafka, settings.partitions))
        wrong = wrong or asyncio.run(stored_difference(settings))
    if len(seen.clickhouse_ms) < rate * seconds * 9 // 10:
        tell(f"only {len(seen.clickhouse_ms):,} events of {rate * seconds:,} were seen to arrive")
        wrong = wrong or "events did not arrive"
    return seen, wrong is None


def _summary(took_ms: Sequence[float]) -> dict[str, float]:
    return {
        "p50_ms": round(percentile(took_ms, 0.5)),
        "p90_ms": round(percentile(took_ms, 0.9)),
        "max_ms": round(max(took_ms)),
        "measured": len(took_ms),
    }


async def _measured(settings: Settings, programs: Sequence[Program], seconds: int, rate: int) -> ArrivalTimes:
    traffic = iter(events((WARM_UP_S + seconds) * rate, times=Times.around(datetime.now(UTC))))
    purchases = [next(traffic) for _ in range(APPS * 3)]
    await publish(settings.kafka, settings.partitions, purchases)
    stored = StoredLedger(settings)
    places = range(settings.partitions)
    async with (
        reading(settings.kafka, topics.LEDGER, places) as ledger,
        reading(settings.kafka, topics.LEDGER, places) as ledger_ends,
        reading(settings.kafka, topics.EVENTS, places) as log,
    ):
        await _all_there(log, ledger_ends, stored, programs)
        await ledger.seek_to_end()
        seen = ArrivalTimes()
        watching = [
            asyncio.create_task(_watch_ledger(ledger, seen)),
            asyncio.create_task(_watch_clickhouse(StoredLedger(settings), seen)),
        ]
        await _publish_steadily(settings, list(traffic), rate, seen)
        await _all_there(log, ledger_ends, stored, programs)
        # What watches has a moment to see what is there.
        await asyncio.sleep(1.0)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    stored.close()
    return seen


async def _all_there(
    log: AIOKafkaConsumer, ledger: AIOKafkaConsumer, stored: StoredLedger, programs: Sequence[Program]
) -> None:
    """Wait until what is in the log so far is metered and stored."""
    wanted = await ends(log)
    deadline_s = time.monotonic() + SETTLE_S_MAX
    while time.monotonic() < deadline_s:
        await asyncio.sleep(0.5)
        for one in programs:
            one.usage()
        reached = await metered_up_to(ledger)
        there = await asyncio.to_thread(stored.stored_up_to) if stored.count() else {}
        if all(reached[one] >= end and there.get(one, 0) >= end for one, end in wanted.items()):
            return
    raise RuntimeError(f"not everything was stored within {SETTLE_S_MAX:.0f} s; see the logs of the programs")


async def _publish_steadily(settings: Settings, taps: Sequence[Event], rate: int, seen: ArrivalTimes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all", linger_ms=0)
    await producer.start()
    try:
        began_s = time.time() + 0.1
        sent = []
        for number, (key, value) in enumerate(taps):
            due_s = began_s + number / rate
            ahead_s = due_s - time.time()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            if number >= WARM_UP_S * rate:
                seen.due_s.setdefault(_id_of(value), due_s)
            place = partition_of(key, settings.partitions)
            sent.append(await producer.send(topics.EVENTS, value=value, key=key, partition=place))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _id_of(value: bytes) -> str:
    return value.partition(b'"id":"')[2].partition(b'"')[0].decode()


async def _watch_ledger(ledger: AIOKafkaConsumer, seen: ArrivalTimes) -> None:
    while True:
        for tp, fetched in (await ledger.getmany(timeout_ms=200)).items():
            for record in fetched:
                seen.in_ledger(tp.partition, record.value, record.timestamp)


async def _watch_clickhouse(stored: StoredLedger, seen: ArrivalTimes) -> None:
    while True:
        seen.in_clickhouse(await asyncio.to_thread(stored.stored_up_to))
        await asyncio.sleep(LOOK_S)
