"""A rolling upgrade under load, from the services of a commit to today's: `make upgrade FROM=COMMIT`.

Two workers and a sink of the commit, in an environment of its own, meter what a producer of the commit
publishes; one after the other they end and start again as today's. Then the audit of today compares
everything. Prints one JSON object.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from metering.topics import LEDGER
from phonemeter.audit.auditor import audit
from phonemeter.audit.report import AuditReport
from phonemeter.settings import Settings, load
from phonemeter.stack import services
from phonemeter.stack.launch import child_command
from phonemeter.stack.stack import Stack
from phonemeter.topic_reader import offset_spans
from tests.ports import free_port
from tests.waiting import blocking_until

ROOT: Final = Path(__file__).parents[2]
SETTLES_S_MAX: Final = 600.0
LOOK_S: Final = 0.1


class Version:
    """A checkout with its environment."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder

    def start(self, settings: Settings, log: Path, *arguments: str, **ports: int) -> subprocess.Popen[bytes]:
        """Start a command of this version, which dies with this process."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PHONEMETER_KAFKA": settings.kafka,
            "PHONEMETER_CLICKHOUSE": settings.clickhouse,
            "PHONEMETER_DATA_DIR": str(settings.data_dir),
            "PHONEMETER_PARTITIONS": str(settings.partitions),
            **{f"PHONEMETER_{name.upper()}": str(port) for name, port in ports.items()},
        }
        command = child_command((str(self._python), "-m", "phonemeter", *arguments))
        with log.open("ab") as file:
            return subprocess.Popen(command, cwd=self._folder, env=environ, stdout=file, stderr=file)

    def run(self, settings: Settings, log: Path, *arguments: str) -> None:
        """Run a command of this version to its end."""
        if self.start(settings, log, *arguments).wait():
            sys.exit(f"{' '.join(arguments)} of {self._folder} failed; see {log}")


class LedgerPace:
    """The longest time without a new record of the ledger, while it is looked at."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._records, self._since_s = 0, time.monotonic()
        self.longest_s = 0.0

    def watch(self, seconds: float) -> None:
        """Look for some seconds."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            spans = offset_spans(self._settings.kafka_access, LEDGER)
            records, now_s = sum(span.end for span in spans.values()), time.monotonic()
            if records > self._records:
                if self._records:
                    self.longest_s = max(self.longest_s, now_s - self._since_s)
                self._records, self._since_s = records, now_s
            time.sleep(LOOK_S)


def checked_out(commit: str, uv: str, folder: Path) -> Version:
    """The commit in a folder, with an environment of its own."""
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "--extract"], cwd=folder, input=archive.stdout, check=True)
    subprocess.run([uv, "sync", "--frozen", "--no-dev", "--quiet"], cwd=folder, check=True)
    return Version(folder / ".venv" / "bin" / "python", folder)


@contextlib.contextmanager
def ended(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the processes behind the block."""
    try:
        yield
    finally:
        for one in processes:
            one.terminate()
        for one in processes:
            one.wait()


def upgraded(old: Version, new: Version, settings: Settings, rate: float, step_s: float) -> dict[str, Any]:
    """Upgrade under load; returns the figures."""
    logs = settings.data_dir / "logs"
    pace = LedgerPace(settings)
    workers = [{"worker_port": free_port()} for _ in range(2)]
    sink = {"sink_metrics_port": free_port()}
    old.run(settings, logs / "topics.log", "topics")
    running = [
        old.start(settings, logs / f"worker-{number}.log", "worker", **ports)
        for number, ports in enumerate(workers)
    ]
    running.append(old.start(settings, logs / "sink.log", "sink", **sink))
    with ended(*running):
        load_log = logs / "load.log"
        seconds = int(6 * step_s)
        load_arguments = ("simulate", "--realtime", "--rate", f"{rate:g}", "--for", f"{seconds}s")
        producing = old.start(settings, load_log, *load_arguments)
        pace.watch(2 * step_s)
        pace.longest_s = 0.0
        for number, command in enumerate(("worker", "worker", "sink")):
            running[number].terminate()
            running[number].wait()
            ports = sink if command == "sink" else workers[number]
            running[number] = new.start(settings, logs / f"{command}-{number}-new.log", command, **ports)
            pace.watch(step_s)
        producing.wait()
        report = settled(settings)
        with ended(*running):
            pass
    delivered = re.search(r"([\d,]+) delivered", load_log.read_text())
    sent = int(delivered[1].replace(",", "")) if delivered else -1
    return {
        "sent": sent,
        "records": sum(one.records for one in report.partitions),
        "events": report.figures.events,
        "clean": report.clean,
        "differences": {place: found.kinds for place, found in report.places.items() if found.kinds},
        "repeated": sum(found.repeated for found in report.places.values()),
        "longest_pause_s": round(pace.longest_s, 1),
    }


def settled(settings: Settings) -> AuditReport:
    """The audit, once everything is metered and stored."""
    found: list[AuditReport] = []

    def nothing_in_flight() -> bool:
        found[:] = [audit(settings)]
        # Clock ticks go on, so some record is always in flight.
        return all(one.in_flight + one.not_stored < 10 * settings.partitions for one in found[0].partitions)

    blocking_until(nothing_in_flight, SETTLES_S_MAX)
    return found[0]


def main() -> None:
    """Run it from the command line."""
    asked = argparse.ArgumentParser(prog="make upgrade", description=__doc__)
    asked.add_argument("commit")
    asked.add_argument("--uv", default="uv")
    asked.add_argument("--rate", type=float, default=300)
    asked.add_argument("--step-s", type=float, default=20)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="phonemeter-upgrade-") as folder:
        old = checked_out(given.commit, given.uv, Path(folder, "old"))
        new = Version(Path(sys.executable), ROOT)
        ports = {name: free_port() for names in services.PORTS.values() for name in names}
        settings = load(data_dir=Path(folder, "data"), **ports)
        with Stack(settings, only=("kafka", "engine"), make_topics=False):
            figures = upgraded(old, new, settings, given.rate, given.step_s)
    print(json.dumps({"from": given.commit, **figures}))  # noqa: T201 - the result
    sys.exit(0 if figures["clean"] else 1)


if __name__ == "__main__":
    main()
