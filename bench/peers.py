"""The worker beside its peers, in turn, on one broker: the same job, the same window, the same form.

The peers and their harness are in a directory of their own (`--peerbench`); what they need is installed into
this user's cache and never into this project. They get the job's input as their harness makes it. Ours has
the same number of taps with the same distribution over as many apps, in our event format, and each app's
three packs are events as well, published before the taps.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, tell
from bench.kafka_log import publish
from bench.measuring import MeteringRun, ledger_difference, measured_workers
from bench.processes import Program, program, stack
from bench.traffic import APPS, events
from metering import topics
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.topics import ensure_topics

PEERS = (
    ("kafka-streams", "at_least_once"),
    ("kafka-streams", "exactly_once_v2"),
    ("quixstreams", "at-least-once"),
)
MODE = "at_least_once, exact by identity"
RUN_LIMIT_S = 900
CPU_TARGET = 12.0
RATE_TARGET = 80_000.0
ADVANTAGE_TARGET = 2.5
OUTPUTS = (topics.LEDGER, topics.ALERTS, topics.DEAD_LETTERS, topics.STATE)

JsonLine = dict[str, Any]
"""A run in the peer harness's form."""


@dataclass(frozen=True, slots=True)
class PeersConfig:
    """Taps per run, rounds, and the directory of the peers."""

    taps: int = 1_000_000
    rounds: int = 1
    peerbench: Path | None = None
    apps: int = APPS


def lines(asked: PeersConfig) -> Iterator[JsonLine]:
    """Run ours and the peers in turn; one line per run."""
    with stack("kafka", clock="events") as (settings, running):
        broker = running["kafka"]
        ensure_topics(settings.kafka_access, settings.partitions)
        count = asyncio.run(publish(settings.kafka, settings.partitions, events(asked.taps, asked.apps)))
        tell(f"published {count:,} events for {MODE}")
        # What the harness knows of its topic belongs to one broker, and this one is new.
        for stale in _work(settings).glob("expected-*.pickle"):
            stale.unlink()
        for _ in range(asked.rounds):
            yield ours(settings, broker)
            for peer, mode in PEERS if asked.peerbench else ():
                yield from _theirs(asked, settings, broker, peer, mode)


def ours(settings: Settings, broker: Program) -> JsonLine:
    """One run of the worker over the whole log; leaves nothing behind for the next."""
    with program(settings, "worker") as worker:
        run = asyncio.run(measured_workers(settings.kafka, settings.partitions, [worker], [broker]))
    wrong = asyncio.run(ledger_difference(settings.kafka, settings.partitions))
    _empty_outputs(settings)
    return as_peer(run, correct=wrong is None)


def as_peer(run: MeteringRun, *, correct: bool) -> JsonLine:
    """A run of one worker and the broker in the peer harness's form."""
    return {
        "peer": "phonemeter",
        "mode": MODE,
        "events": run.events,
        "events_per_s": round(run.events_per_s),
        "cpu_s_per_million": round(run.cpu_s_per_million("worker"), 1),
        "peak_rss_mb": run.peak_rss_mb["worker"],
        "correct": correct,
        "broker_cpu_s_per_million": round(run.cpu_s_per_million("kafka"), 1),
        "others_cpu_s": run.others_cpu_s,
    }


def figures(found: Sequence[JsonLine]) -> Iterator[Figure]:
    """The figures of the worker, and of it against Kafka Streams, from the lines."""
    mine = [line for line in found if line["peer"] == "phonemeter"]
    correct = all(line["correct"] for line in mine)
    under = {"events": mine[0]["events"], "peak_rss_mb": max(line["peak_rss_mb"] for line in mine)}
    yield Figure(
        figure="worker: CPU",
        values=tuple(line["cpu_s_per_million"] for line in mine),
        unit="CPU s per million events",
        target=CPU_TARGET,
        correct=correct,
        under=under,
    )
    yield Figure(
        figure="worker: rate",
        values=tuple(line["events_per_s"] for line in mine),
        unit="events/s",
        target=RATE_TARGET,
        limit="at least",
        correct=correct,
        under=under,
    )
    theirs = [line["cpu_s_per_million"] for line in found if line["peer"] == "kafka-streams"]
    if theirs:
        own = median(line["cpu_s_per_million"] for line in mine)
        yield Figure(
            figure="worker: times cheaper than Kafka Streams",
            values=(median(theirs) / own,),
            unit="times",
            target=ADVANTAGE_TARGET,
            limit="at least",
            correct=correct,
            under={"kafka_streams_runs": len(theirs), "same_run": True},
        )


def _theirs(
    asked: PeersConfig, settings: Settings, broker: Program, peer: str, mode: str
) -> Iterator[JsonLine]:
    work = _work(settings)
    environ = {
        **os.environ,
        "BROKER": settings.kafka,
        "BROKER_PID": str(broker.pid),
        "WORK": str(work),
        # Only Faust would need an environment of its own, and Faust is not run.
        "VF": str(work / "vq"),
        "ROUNDS": "1",
        "N": str(asked.taps),
        "PEERS": f"{peer} {mode} {asked.taps}",
        # The harness's directory stays as it is.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    said = subprocess.run(  # noqa: S603 - the user named the harness
        ["bash", str((asked.peerbench or Path()) / "run.sh")],  # noqa: S607 - the harness asks for bash
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    ).stdout
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    if not found:
        tell(f"{peer} {mode} did not run; what it said is above")
    yield from found


def _work(settings: Settings) -> Path:
    """The directory that the peers are installed into and kept in for the next time."""
    return settings.cache_dir / "peerbench"


def _empty_outputs(settings: Settings) -> None:
    """Delete what a run has written, and where it stood; the events stay."""
    with admin(settings.kafka_access) as client:
        client.delete_groups([topics.WORKER_GROUP])
        client.delete_topics(list(OUTPUTS))
    ensure_topics(settings.kafka_access, settings.partitions)
