"""One supervised process: started, probed, restarted with backoff, stopped.

Why this is ours and not a library: docs/explanation/dependencies.md, "Process supervision".
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from phonemeter.errors import OperationError
from phonemeter.stack.exit_cause import advice, last_error
from phonemeter.stack.launch import child_command
from phonemeter.stack.liveness import Liveness, until_silent
from phonemeter.stack.probes import Probe
from phonemeter.stack.service_log import ServiceLog

EXIT_REFUSED = 2
"""Exit status of a program that cannot work with its settings; a restart would not help."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """The policy for restarting a process that ended, with exponential backoff.

    A process that lived `stable_s` is restarted at once; one that ended sooner after a delay that doubles
    each time, from `delay_s` to `delay_max_s`, until it is given up after `attempts` in a row.
    """

    attempts: int = 6
    delay_s: float = 0.5
    delay_max_s: float = 10.0
    stable_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service to run: its command, its probes, and its policies."""

    name: str
    command: tuple[str, ...]
    ready: Probe
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    """Working directory, created if missing; None keeps the supervisor's."""
    probe_interval_s: float = 0.1
    stop_grace_s: float = 4.0
    restarts: RestartPolicy = RestartPolicy()
    liveness: Liveness | None = None


class ServiceState(StrEnum):
    """The state of a service."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    SILENT = "not answering"
    WAITING = "waiting to restart"
    FAILED = "failed"


class ServiceFailedError(OperationError):
    """A service ended too often in a row and was given up."""


class _EndedError(Exception):
    """The process ended by itself before it was stable."""


class _RefusedError(Exception):
    """The process reported that it cannot work with its settings, and never was ready."""


class Supervised:
    """A service under supervision, in the running event loop.

    The thread of that loop must outlive the service: the kernel kills the process when the thread ends.
    """

    def __init__(self, service: ServiceSpec, tell: Callable[[str], None] = lambda _: None) -> None:
        """`tell` is called with a sentence when the process ended, stops answering, or answers again."""
        self.service = service
        self._notify = tell
        self.state = ServiceState.STOPPED
        self._starts = 0
        self._has_worked = False
        self._given_up_silent = False
        self._log_begin = 0
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
        """Number of restarts of the process."""
        return max(0, self._starts - 1)

    @property
    def last_error(self) -> str:
        """The most informative line of its log since its last start; empty if there is none."""
        return last_error(self.service.log, self._log_begin)

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
        """Check that the service was not given up.

        Raises:
            ServiceFailedError: it was given up.
        """
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """End the process and its children: SIGTERM, grace period, SIGKILL. A failed service is no error."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ServiceFailedError):
            await self._task
        if self.state is not ServiceState.FAILED:
            self.state = ServiceState.STOPPED

    async def _supervise(self) -> None:
        policy = self.service.restarts
        while True:
            try:
                async for attempt in AsyncRetrying(
                    stop=stop_after_attempt(policy.attempts),
                    wait=wait_exponential(multiplier=policy.delay_s, max=policy.delay_max_s),
                    retry=retry_if_exception_type(_EndedError),
                    before_sleep=lambda _: self._report_restart(),
                    reraise=True,
                ):
                    with attempt:
                        await self._run_once()
                self._report_restart()
            except (_EndedError, _RefusedError):
                self.state = ServiceState.FAILED
                given_up = f"was given up after {self._starts} start{'' if self._starts == 1 else 's'}"
                raise ServiceFailedError(
                    f"{self._end_sentence(given_up)} Its log is {self.service.log}."
                ) from None

    async def _run_once(self) -> None:
        self.state = ServiceState.STARTING
        began = time.monotonic()
        for directory in (self.service.log.parent, self.service.directory):
            if directory is not None:
                directory.mkdir(parents=True, exist_ok=True)
        async with ServiceLog(self.service.log) as log:
            process = await self._spawn(log)
            housekeeping = asyncio.create_task(self._housekeep())
            try:
                await process.wait()
            finally:
                housekeeping.cancel()
                await _terminate(process, self.service.stop_grace_s)
        self._has_worked |= self._ready.is_set()
        self._ready.clear()
        self.state = ServiceState.WAITING
        # A service that worked before may fail for a while, for example because its port is taken.
        if process.returncode == EXIT_REFUSED and not self._has_worked:
            raise _RefusedError
        if time.monotonic() - began < self.service.restarts.stable_s:
            raise _EndedError

    async def _spawn(self, log: ServiceLog) -> asyncio.subprocess.Process:
        service = self.service
        self._log_begin = log.size
        self._process = await asyncio.create_subprocess_exec(
            *child_command(service.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log.writer,
            stderr=asyncio.subprocess.STDOUT,
            cwd=service.directory,
            env={**os.environ, **service.environ},
            start_new_session=True,
        )
        log.handed_over()
        self._starts += 1
        return self._process

    async def _housekeep(self) -> None:
        while not await self.service.ready():  # noqa: ASYNC110 - a probe has no event to wait for
            await asyncio.sleep(self.service.probe_interval_s)
        self.state = ServiceState.READY
        self._ready.set()
        if self.service.liveness is not None:
            await self._keep_alive(self.service.liveness)

    async def _keep_alive(self, liveness: Liveness) -> None:
        """End the process when it has not answered for too long."""
        await until_silent(liveness, self._on_silence, self._on_answer)
        self._given_up_silent = True
        if self._process is not None:
            await _terminate(self._process, self.service.stop_grace_s)

    def _on_silence(self) -> None:
        if self.state is ServiceState.READY:
            self.state = ServiceState.SILENT
            self._notify(f"{self.service.name} does not answer any more.")

    def _on_answer(self) -> None:
        if self.state is ServiceState.SILENT:
            self.state = ServiceState.READY
            self._notify(f"{self.service.name} answers again.")

    def _report_restart(self) -> None:
        silent, self._given_up_silent = self._given_up_silent, False
        what = "did not answer for too long and is" if silent else "ended and is"
        self._notify(self._end_sentence(f"{what} started again"))

    def _end_sentence(self, what: str) -> str:
        """A sentence about the end of the process, with its last error and advice."""
        status = self._process.returncode if self._process is not None else None
        how = f"killed by signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        words = self.last_error
        said = f": {words}." if words else "."
        todo = advice(words, self.service.directory or self.service.log.parent)
        return f"{self.service.name} {what} ({how}){said} {todo}".rstrip()


async def _terminate(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """End every process of the process group, whether or not the first has ended already."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
