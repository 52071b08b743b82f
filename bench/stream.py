"""The worker alone: events that lie in Kafka, metered by one worker beside the broker, its output checked.

`python -m bench.stream [--taps N] [--runs N]` prints one JSON line per run: events per second from the first
metered batch to the last, and the worker's CPU seconds (user and system, all threads) per million events
over the same time. A run counts only if the ledger on the broker is what the rules alone say of the log.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.partitioner import murmur2

from bench.traffic import APPS, Event, events
from metering import topics
from metering.ledger import decode_rows
from metering.partition import PartitionState, Record, meter
from metering.rules import Rules
from phonemeter.demo.ports import with_free_ports
from phonemeter.settings import Settings, load
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.stack import Stack

BATCH_BYTES = 500_000
LOOK_S = 0.25
METERED = "phonemeter_worker_records_total"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process has used: seconds of CPU, peak resident megabytes."""

    cpu_s: float
    peak_rss_mb: int

    @staticmethod
    def of(pid: int) -> "Usage":
        """Read from /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        peak_kb = int(status.partition("VmHWM:")[2].split()[0])
        return Usage((int(fields[11]) + int(fields[12])) / TICKS_PER_S, peak_kb // 1024)


def main() -> None:
    """Measure as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--taps", type=int, default=1_000_000)
    parser.add_argument("--apps", type=int, default=APPS)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    for _ in range(asked.runs):
        sys.stdout.write(json.dumps(measure(asked.taps, asked.apps)) + "\n")
        sys.stdout.flush()


def measure(taps: int, apps: int) -> dict[str, object]:
    """One run on a broker of its own."""
    with tempfile.TemporaryDirectory() as directory:
        settings = with_free_ports(load(data_dir=Path(directory), clock="events"))
        with Stack(settings, only=("kafka",)) as stack:
            stack.wait_ready(60)
            ensure_topics(settings.kafka, settings.partitions)
            published = asyncio.run(_publish(settings.kafka, settings.partitions, events(taps, apps)))
            return _run_worker(settings, Path(directory), published) | {"apps": apps}


def _run_worker(settings: Settings, directory: Path, published: int) -> dict[str, object]:
    with (directory / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "phonemeter", "worker"],
            env={**os.environ, **settings.to_environ()},
            cwd=directory,
            stdout=log,
            stderr=log,
        )
        try:
            began, began_s = _wait_for(settings.worker_port, worker.pid, 1)
            ended, ended_s = _wait_for(settings.worker_port, worker.pid, published)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(30)
    correct = asyncio.run(_is_correct(settings.kafka, settings.partitions))
    return {
        "peer": "phonemeter",
        "mode": "at_least_once, exact by identity",
        "events": published,
        "events_per_s": round(published / (ended_s - began_s)),
        "cpu_s_per_million": round((ended.cpu_s - began.cpu_s) / published * 1e6, 2),
        "peak_rss_mb": ended.peak_rss_mb,
        "correct": correct,
    }


def _wait_for(port: int, pid: int, records: int) -> tuple[Usage, float]:
    """The worker's usage and the time once it has metered so many records."""
    while True:
        usage, now_s = Usage.of(pid), time.monotonic()
        if _metered(port) >= records:
            return usage, now_s
        time.sleep(LOOK_S)


def _metered(port: int) -> float:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except (URLError, OSError):
        return 0
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(METERED))


async def _publish(kafka: str, partitions: int, traffic: Iterable[Event]) -> int:
    """Publish as fast as it goes, each event a record of its own in the partition of its key."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=BATCH_BYTES)
    await producer.start()
    published = 0
    try:
        batches = [producer.create_batch() for _ in range(partitions)]
        for key, value in traffic:
            partition = (murmur2(key) & 0x7FFFFFFF) % partitions
            if batches[partition].append(key=key, value=value, timestamp=None) is None:
                await producer.send_batch(batches[partition], topics.EVENTS, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=key, value=value, timestamp=None)
            published += 1
        for partition, batch in enumerate(batches):
            await producer.send_batch(batch, topics.EVENTS, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()
    return published


async def _is_correct(kafka: str, partitions: int) -> bool:
    """Whether the ledger on the broker is, line by line, what the rules alone say of the log."""
    for partition in range(partitions):
        log = [
            Record(record.offset, record.timestamp, record.key, record.value)
            for record in await _records(kafka, topics.EVENTS, partition)
        ]
        wanted = [
            msgspec.to_builtins(entry) for entry in meter(PartitionState(partition), log, Rules()).entries
        ]
        values = [record.value for record in await _records(kafka, topics.LEDGER, partition)]
        if [row for value in values for row in decode_rows(value).rows] != wanted:
            return False
    return True


async def _records(kafka: str, topic: str, partition: int) -> list[ConsumerRecord]:
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        records: list[ConsumerRecord] = []
        while await consumer.position(tp) < end:
            records += (await consumer.getmany(tp, timeout_ms=500)).get(tp, [])
        return records
    finally:
        await consumer.stop()


if __name__ == "__main__":
    main()
