"""A busy worker's time by stage: py-spy samples it from outside while it works through a log.

`python -m bench.profile [--taps N]` prints one JSON line. py-spy is not a dependency of this project: install
it beside it (`uv tool install py-spy`); where it may not look at other processes, the system says so.
"""

import argparse
import asyncio
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.figures import conditions, tell, write
from bench.kafka_log import publish
from bench.measuring import ledger_difference, measured_workers
from bench.processes import Program, program, stack
from bench.traffic import events

SAMPLES_PER_S: Final = 250
SECONDS: Final = 600
"""At most; it is ended when all is metered."""

WRITE_S_MAX: Final = 60

STAGES: Final[tuple[tuple[str, str], ...]] = (
    ("/metering/event_validation.py", "read and check the event"),
    ("/metering/event_reader.py", "read and check the event"),
    ("/metering/remembered_ids.py", "look up and remember ids"),
    ("/metering/ledger.py", "encode ledger records"),
    ("/metering/journal.py", "write ledger lines"),
    ("/metering/accounts.py:encode_account", "store the state"),
    ("/metering/state_items.py", "store the state"),
    ("/streams/state_log.py", "store the state"),
    ("/metering/", "apply the rules"),
    ("/aiokafka/consumer/", "fetch and unpack records"),
    ("/aiokafka/producer/", "publish"),
    ("/streams/record_batches.py", "fetch and unpack records"),
    ("/streams/publisher.py", "publish"),
    ("/streams/", "order of work and metrics"),
    ("/faust/", "Faust"),
    ("/mode/", "Faust"),
)
"""The stage of a frame: the first whose text is in it. A frame of none belongs to its caller's."""

OTHER: Final = "event loop and other"
_WAITING: Final = re.compile(
    r"(^|;)((\w+\.)?select \(\S*/selectors\.py|_worker \(\S*/concurrent/futures/thread\.py):\d+\)$"
)
"""Threads that wait for events or for work; py-spy often takes them for busy, but they use nothing."""

_FRAME: Final = re.compile(r"^(?P<function>.*) \((?P<file>.*):\d+\)$")


def stage_of(stack_of_frames: str) -> str:
    """The stage of a sample: that of its innermost frame that belongs to one."""
    for frame in reversed(stack_of_frames.split(";")):
        found = _FRAME.match(frame)
        if found is None:
            continue
        place = f"{found['file']}:{found['function']}"
        for text, stage in STAGES:
            if text in place:
                return stage
    return OTHER


def shares(raw: Iterable[str]) -> dict[str, float]:
    """Per cent of the samples per stage, most first, from py-spy's raw lines."""
    counts: Counter[str] = Counter()
    for line in raw:
        frames, _, count = line.rpartition(" ")
        if frames and not _WAITING.search(frames):
            counts[stage_of(frames)] += int(count)
    total = sum(counts.values())
    return {stage: round(100 * count / total, 1) for stage, count in counts.most_common()}


def measure(taps: int) -> dict[str, Any]:
    """Profile one run; beside the shares, what the stages cost per event at the CPU that was used."""
    with tempfile.TemporaryDirectory() as directory, stack("kafka", clock="events") as (settings, _):
        raw = Path(directory) / "raw"
        asyncio.run(publish(settings.kafka, settings.partitions, events(taps)))
        with program(settings, "worker") as worker:
            _wait_for_first_events(worker)
            looking = subprocess.Popen(_py_spy(worker.pid, raw))  # noqa: S603 - the user's own py-spy
            run = asyncio.run(measured_workers(settings.kafka, settings.partitions, [worker], tail_s=0))
            # A worker that waits for more is not what is asked about.
            looking.send_signal(signal.SIGINT)
            looking.wait(WRITE_S_MAX)
        wrong = asyncio.run(ledger_difference(settings.kafka, settings.partitions))
        found = shares(raw.read_text().splitlines())
    cpu = run.cpu_s_per_million("worker")
    return {
        "profile": {
            stage: {"share": share, "us": round(cpu * share / 100, 2)} for stage, share in found.items()
        },
        "events": run.events,
        "cpu_s_per_million": round(cpu, 1),
        "correct": wrong is None,
    }


def _wait_for_first_events(worker: Program) -> None:
    while worker.mark is None or not worker.mark.exists():
        worker.usage()
        time.sleep(0.01)


def _py_spy(pid: int, raw: Path) -> Sequence[str]:
    program_of_py_spy = shutil.which("py-spy")
    if program_of_py_spy is None:
        raise SystemExit("py-spy is not on the path; install it with: uv tool install py-spy")
    options = (
        "--format",
        "raw",
        "--full-filenames",
        "--rate",
        f"{SAMPLES_PER_S}",
        "--duration",
        f"{SECONDS}",
    )
    return (program_of_py_spy, "record", *options, "--output", str(raw), "--pid", str(pid))


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile as asked on the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--taps", type=int, default=1_000_000)
    under = conditions()
    line = measure(parser.parse_args(arguments).taps)
    if not line["correct"]:
        tell("the ledger of this run is wrong; its profile counts for nothing")
        raise SystemExit(1)
    write({**line, "conditions": under})


if __name__ == "__main__":
    main()
