"""Publishing a file of events: `phonemeter emit` doing its whole job, beside plain kafka-python.

`python -m bench.emit [--taps N] [--runs N]` lets both publish the same events in turn to one broker.
kafka-python gets them as ready bytes, and its clock runs from the first `send` to the end of `flush`. emit
reads the file, checks every event and publishes it, and its clock runs from before it connects until every
acknowledgement is told. After each run the topic is read back: it has to hold every line once, the lines of
an app in the order of the file.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aiokafka import TopicPartition
from kafka import KafkaProducer

from bench.figures import Figure, conditions, tell, write
from bench.kafka_log import ends, reading
from bench.processes import stack
from bench.traffic import Event, events
from metering import topics
from phonemeter.settings import Settings
from phonemeter.stack.kafka.topics import ensure_topics

RATIO_TARGET = 3.0
SAME_AS_WE = {"acks": "all", "enable_idempotence": True}
BEST = {"compression_type": "lz4", "batch_size": 32_768, "linger_ms": 20}
"""Of what its documentation offers, the fastest of those tried: lz4 or none, 16 to 512 KiB, 0 to 100 ms."""

PEER = "--be-the-peer"


class EmitRun(NamedTuple):
    """One run of either: its time, the CPU of the process, and whether the topic then held what it should."""

    wall_s: float
    cpu_s: float
    command_s: float
    correct: bool


def main() -> None:
    """Measure as asked on the command line."""
    if sys.argv[1:2] == [PEER]:
        _be_the_peer(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--taps", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    state = conditions()
    for figure in figures(asked.taps, asked.runs):
        write(figure.as_line(state))


def figures(taps: int, runs: int) -> Iterator[Figure]:
    """Rate, CPU and ratio."""
    traffic = list(events(taps))
    plain, ours = _in_turn(traffic, runs)
    correct = all(run.correct for run in (*plain, *ours))
    size_bytes = sum(len(value) for _, value in traffic)
    under: dict[str, object] = {"events": len(traffic), "bytes_per_event": size_bytes // len(traffic)}
    peer = under | {"settings": {**SAME_AS_WE, **BEST}}
    whole = {"events_per_s_with_the_start": round(len(traffic) / max(run.command_s for run in ours))}
    for name, values, unit, so in (
        ("emit: kafka-python", _rates(plain, traffic), "events/s", peer),
        ("emit: CPU of kafka-python", _cpu(plain, traffic), "CPU s per million events", peer),
        ("emit: rate", _rates(ours, traffic), "events/s", under | whole),
        ("emit: CPU, its start included", _cpu(ours, traffic), "CPU s per million events", under),
    ):
        yield Figure(figure=name, values=values, unit=unit, correct=correct, under=so)
    yield Figure(
        figure="emit",
        values=tuple(peer.wall_s / own.wall_s for peer, own in zip(plain, ours, strict=True)),
        unit="times the rate of kafka-python",
        target=RATIO_TARGET,
        limit="at least",
        correct=correct,
        under=under,
    )


def _rates(runs: Sequence[EmitRun], traffic: Sequence[Event]) -> tuple[float, ...]:
    return tuple(len(traffic) / run.wall_s for run in runs)


def _cpu(runs: Sequence[EmitRun], traffic: Sequence[Event]) -> tuple[float, ...]:
    return tuple(run.cpu_s / len(traffic) * 1e6 for run in runs)


def _in_turn(traffic: Sequence[Event], runs: int) -> tuple[list[EmitRun], list[EmitRun]]:
    plain: list[EmitRun] = []
    ours: list[EmitRun] = []
    with stack("kafka") as (settings, _), tempfile.TemporaryDirectory() as directory:
        ensure_topics(settings.kafka_access, settings.partitions)
        file = Path(directory) / "events.jsonl"
        file.write_bytes(b"".join(value + b"\n" for _, value in traffic))
        for number in range(runs):
            peer = [sys.executable, "-m", "bench.emit", PEER, settings.kafka, str(file)]
            plain.append(_run(peer, settings, traffic))
            tell(f"run {number + 1}: kafka-python {plain[-1]}")
            emit = [sys.executable, "-m", "phonemeter", "emit", str(file), "--json"]
            ours.append(_run(emit, settings, traffic))
            tell(f"run {number + 1}: emit {ours[-1]}")
    return plain, ours


def _run(command: Sequence[str], settings: Settings, traffic: Sequence[Event]) -> EmitRun:
    before = asyncio.run(_ends(settings))
    began_s = time.monotonic()
    environment = {**os.environ, **settings.to_environ()}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:  # noqa: S603 - ours
        said = json.load(process.stdout or sys.stdin)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    command_s = time.monotonic() - began_s
    right = process.returncode == 0 and asyncio.run(_published(settings, before)) == _by_app(traffic)
    return EmitRun(said["seconds"], said.get("cpu_s", used.ru_utime + used.ru_stime), command_s, right)


async def _ends(settings: Settings) -> dict[int, int]:
    async with reading(settings.kafka, topics.EVENTS, range(settings.partitions)) as consumer:
        return await ends(consumer)


async def _published(settings: Settings, before: dict[int, int]) -> dict[bytes, list[bytes]]:
    """The records that came into the topic since, per key in the order of the log."""
    found: dict[bytes, list[bytes]] = defaultdict(list)
    async with reading(settings.kafka, topics.EVENTS, range(settings.partitions)) as consumer:
        after = await ends(consumer)
        for partition, offset in before.items():
            consumer.seek(TopicPartition(topics.EVENTS, partition), offset)
        left = sum(after.values()) - sum(before.values())
        while left > 0:
            for fetched in (await consumer.getmany(timeout_ms=500, max_records=20_000)).values():
                left -= len(fetched)
                for record in fetched:
                    found[record.key].append(record.value)
    return found


def _by_app(traffic: Sequence[Event]) -> dict[bytes, list[bytes]]:
    wanted: dict[bytes, list[bytes]] = defaultdict(list)
    for key, value in traffic:
        wanted[key].append(value)
    return wanted


def _be_the_peer(kafka: str, file: str) -> None:
    """Publish with kafka-python as its documentation shows, and say how long that took."""
    values = Path(file).read_bytes().splitlines()
    ready = [(json.loads(value)["subject"].encode(), value) for value in values]
    producer = KafkaProducer(bootstrap_servers=kafka, **SAME_AS_WE, **BEST)
    producer.partitions_for(topics.EVENTS)
    began_s, cpu_s = time.monotonic(), time.process_time()
    for key, value in ready:
        producer.send(topics.EVENTS, value=value, key=key)
    producer.flush()
    took = {"seconds": time.monotonic() - began_s, "cpu_s": time.process_time() - cpu_s}
    producer.close()
    sys.stdout.write(json.dumps(took))


if __name__ == "__main__":
    main()
