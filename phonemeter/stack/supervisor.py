"""One supervised process: started, probed, restarted with backoff, stopped, its log kept within bounds.

Why this is ours and not a library: docs/dependencies.md, "Process supervision".
"""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from phonemeter.errors import OperationError
from phonemeter.stack.probes import Probe
from phonemeter.stack.tied import tied

LOG_BYTES_MAX = 10_000_000
LOG_CHECK_INTERVAL_S = 1.0
LOG_TAIL_BYTES = 4_000
EXIT_REFUSED = 2
"""A program's word for: what I was told cannot work. Told again it will not work either."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """When a process that ended is started again, and when it is given up.

    A process that lived `stable_s` is started again at once; one that ends sooner waits twice as long each
    time, from `delay_s` to `delay_max_s`, and is given up after `attempts` in a row.
    """

    attempts: int = 6
    delay_s: float = 0.5
    delay_max_s: float = 10.0
    stable_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Service:
    """What to run and how to know that it is ready."""

    name: str
    command: tuple[str, ...]
    ready: Probe
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    """Working directory, made if missing; None keeps the supervisor's."""
    probe_interval_s: float = 0.1
    stop_grace_s: float = 4.0
    restarts: Restarts = Restarts()


class State(StrEnum):
    """Where a service is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting to restart"
    FAILED = "failed"


class ServiceFailedError(OperationError):
    """A service ended too often in a row."""


class _EndedError(Exception):
    """The process ended by itself, too soon to call it stable."""


class _RefusedError(Exception):
    """The process said that it cannot work as it was told, and never was ready."""


class Supervised:
    """A service under supervision, in the running event loop.

    The thread of that loop must outlive the service: the kernel kills the process when the thread ends.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.state = State.STOPPED
        self._starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while the process runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def restart_count(self) -> int:
        """How often the process was started again."""
        return max(0, self._starts - 1)

    async def start(self) -> None:
        """Start the service and wait until it is ready for the first time.

        Raises:
            ServiceFailedError: it was given up before it became ready.
        """
        self._ready.clear()
        self._task = asyncio.create_task(self._supervise(), name=f"supervise {self.service.name}")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._task.done():
            await self._task

    def check(self) -> None:
        """Return at once unless the service was given up.

        Raises:
            ServiceFailedError: it was.
        """
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """End the process and whatever it started: SIGTERM, the grace, SIGKILL. A failed service is fine."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ServiceFailedError):
            await self._task
        if self.state is not State.FAILED:
            self.state = State.STOPPED

    async def _supervise(self) -> None:
        policy = self.service.restarts
        while True:
            try:
                async for attempt in AsyncRetrying(
                    stop=stop_after_attempt(policy.attempts),
                    wait=wait_exponential(multiplier=policy.delay_s, max=policy.delay_max_s),
                    retry=retry_if_exception_type(_EndedError),
                    reraise=True,
                ):
                    with attempt:
                        await self._run_once()
            except (_EndedError, _RefusedError):
                self.state = State.FAILED
                raise ServiceFailedError(self._obituary()) from None

    async def _run_once(self) -> None:
        self.state = State.STARTING
        began = time.monotonic()
        process = await self._spawn()
        housekeeping = asyncio.create_task(self._housekeep())
        try:
            await process.wait()
        finally:
            housekeeping.cancel()
            await _end(process, self.service.stop_grace_s)
        was_ready = self._ready.is_set()
        self._ready.clear()
        self.state = State.WAITING
        if process.returncode == EXIT_REFUSED and not was_ready:
            raise _RefusedError
        if time.monotonic() - began < self.service.restarts.stable_s:
            raise _EndedError

    async def _spawn(self) -> asyncio.subprocess.Process:
        service = self.service
        for directory in (service.log.parent, service.directory):
            if directory is not None:
                directory.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tied(service.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                cwd=service.directory,
                env={**os.environ, **service.environ},
                start_new_session=True,
            )
        self._starts += 1
        return self._process

    async def _housekeep(self) -> None:
        while not await self.service.ready():
            self._keep_log_small()
            await asyncio.sleep(self.service.probe_interval_s)
        self.state = State.READY
        self._ready.set()
        while True:
            self._keep_log_small()
            await asyncio.sleep(LOG_CHECK_INTERVAL_S)

    def _keep_log_small(self) -> None:
        """Move a full log aside. The process keeps appending to its file, so that is emptied, not renamed."""
        log = self.service.log
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)

    def _obituary(self) -> str:
        process, log = self._process, self.service.log
        status = process.returncode if process is not None else None
        ended = (
            f"killed by signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        )
        return (
            f"{self.service.name} was given up after {self._starts} starts ({ended}); "
            f"its log {log} ends with: {last_line(log)}"
        )


async def _end(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """Leave nothing of the process' group behind, whether or not the process itself has ended already."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def last_line(log: Path) -> str:
    """Last line of a log that says something."""
    if not log.exists():
        return "(nothing)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "(nothing)")
