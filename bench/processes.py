"""The processes that are measured: started with ports and directories of their own, watched through /proc."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final, Literal

from phonemeter.demo.ports import PORTS
from phonemeter.settings import TOLD_ALL, Settings, load, stack_clickhouse, stack_kafka
from phonemeter.stack.launch import child_command
from phonemeter.stack.probes import http_get
from phonemeter.stack.services import ServiceName
from phonemeter.stack.stack import Stack

ROOT: Final = Path(__file__).parents[1]
END_S_MAX: Final = 25.0
READY_S: Final = 60.0
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
MARK_VARIABLE: Final = "BENCH_MARK"
"""Names the file in which `bench.marked` notes when the first events arrived."""

BROKER_HEAP_MB: Final = 512
LOG_CHARS_MAX: Final = 6_000


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Resources used by a process: seconds of CPU of all its threads, peak resident megabytes."""

    cpu_s: float
    peak_rss_mb: int

    @staticmethod
    def of(pid: int) -> "ResourceUsage":
        """Read it from /proc.

        Raises:
            OSError: there is no such process.
            ValueError: it has ended and waits for its parent to notice.
        """
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        peak_kb = int(status.partition("VmHWM:")[2].partition("kB")[0])
        return ResourceUsage((int(fields[11]) + int(fields[12])) / TICKS_PER_S, peak_kb // 1024)


def machine_busy_s() -> float:
    """Seconds of CPU that everything on this machine has used so far, all cores together."""
    first, _, _ = Path("/proc/stat").read_text().partition("\n")
    fields = [int(one) for one in first.split()[1:8]]
    idle_and_waiting = fields[3] + fields[4]
    return (sum(fields) - idle_and_waiting) / TICKS_PER_S


@dataclass(frozen=True, slots=True)
class Program:
    """A running process of the product."""

    name: str
    pid: int
    log: Path
    port: int = 0
    mark: Path | None = None

    def usage(self) -> ResourceUsage:
        """The resources that it has used so far.

        Raises:
            RuntimeError: it has ended.
        """
        try:
            return ResourceUsage.of(self.pid)
        except (OSError, ValueError):
            told = self.log.read_text(errors="replace")[-LOG_CHARS_MAX:] if self.log.exists() else ""
            raise RuntimeError(f"{self.name} has ended; its log ends with:\n{told}") from None

    def wait_ready(self) -> None:
        """Wait until it serves its metrics.

        Raises:
            RuntimeError: it has ended, or does not within a minute.
        """
        deadline_s = time.monotonic() + READY_S
        while time.monotonic() < deadline_s:
            self.usage()
            try:
                if http_get(self.port, "/metrics")[0] == HTTPStatus.OK:
                    return
            except (OSError, HTTPException):
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} is not ready after {READY_S:.0f} s; see {self.log}")

    def first_events(self) -> tuple[float, float]:
        """Unix time at which its first events arrived, and the seconds of CPU that it had used until then.

        Raises:
            RuntimeError: none have arrived.
        """
        if self.mark is None or not self.mark.exists():
            raise RuntimeError(f"no event ever reached {self.name}; see its log")
        at_s, cpu_s = map(float, self.mark.read_text().split())
        return at_s, cpu_s


@contextmanager
def stack(*names: ServiceName, **changes: object) -> Iterator[tuple[Settings, dict[str, Program]]]:
    """Services of the one-machine stack, on free ports and in a directory that is gone afterwards."""
    with ExitStack() as closing:
        directory = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="phonemeter-bench-")))
        settings = _on_free_ports(load(data_dir=directory / "stack", kafka_heap_mb=BROKER_HEAP_MB))
        settings = settings.replaced(**changes)
        running = closing.enter_context(Stack(settings, only=names))
        pids = {name: running.pid(name) for name in names}
        logs = {name: running.directory.log(name) for name in names}
        yield (
            settings,
            {name: Program(name, pid, logs[name]) for name, pid in pids.items() if pid is not None},
        )


@contextmanager
def program(settings: Settings, name: Literal["worker", "sink"], number: int = 0) -> Iterator[Program]:
    """One worker or sink more, on a port of its own, ended afterwards."""
    title = f"{name}-{number}" if number else name
    directory = settings.data_dir / title
    directory.mkdir(parents=True, exist_ok=True)
    mark = directory / "first-events"
    mark.unlink(missing_ok=True)
    port = {"worker": "worker_port", "sink": "sink_metrics_port"}[name]
    number_of_port = free_ports(1)[0]
    own = settings.replaced(**{port: number_of_port})
    log_file = directory / f"{title}.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            child_command((sys.executable, "-m", "bench.marked", name)),
            env={
                **os.environ,
                **own.to_environ(),
                **TOLD_ALL,
                "PYTHONPATH": str(ROOT),
                MARK_VARIABLE: str(mark),
            },
            cwd=directory,
            stdout=log,
            stderr=log,
        )
        try:
            is_worker = name == "worker"
            yield Program(title, process.pid, log_file, number_of_port, mark if is_worker else None)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, all different."""
    with ExitStack() as opened:
        listeners = [opened.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def _on_free_ports(settings: Settings) -> Settings:
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    return settings.replaced(
        **ports,
        kafka=stack_kafka(ports["kafka_port"]),
        clickhouse=stack_clickhouse(ports["engine_native_port"], settings.engine_password),
    )
