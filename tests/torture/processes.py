"""Programs that are kept running, and that can be killed, frozen and kept down."""

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from phonemeter.stack.launch import child_command

ROOT = Path(__file__).parents[2]
RESTART_PAUSE_S = 0.5
END_S_MAX = 8.0
TEND_S = 0.1


@dataclass
class Program:
    """One program, used by several threads; `tend` restarts it after it has ended.

    The kernel kills it when the thread that started it ends.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    directory: Path
    log: Path
    wanted: bool = False
    ended_by_itself: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _retry_at_s: float = 0.0
    _turn: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def start(self) -> None:
        """Start it, and keep it running from now on."""
        with self._turn:
            self.wanted = True
            if not self.running:
                self._start()

    def _start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                child_command(self.command),
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environ},
                stdout=log,
                stderr=log,
            )

    def tend(self) -> None:
        """Restart it a moment after it ended, as a supervisor does."""
        with self._turn:
            if not self.wanted or self.running:
                return
            if self.process is not None:
                self.process = None
                self.ended_by_itself += 1
                self._retry_at_s = time.monotonic() + RESTART_PAUSE_S
            elif time.monotonic() >= self._retry_at_s:
                self._start()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        with self._turn:
            if self.process is not None and self.running:
                self.process.send_signal(number)

    def kill(self, *, stay_away: bool = False) -> None:
        """Kill -9."""
        with self._turn:
            self.wanted = not stay_away
            if self.process is not None:
                self.process.kill()
                self.process.wait()

    def end(self, within_s: float = END_S_MAX) -> None:
        """End it with SIGTERM, and with SIGKILL if that takes too long."""
        with self._turn:
            self.wanted = False
            process = self.process
        if process is None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def limit_files(self, size_bytes: int) -> None:
        """Limit the size of its files; -1 removes the limit."""
        if self.process is not None and self.running:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size_bytes, -1))


@contextmanager
def tended(programs: Sequence[Program]) -> Iterator[None]:
    """Keep programs running, in a thread of its own."""
    over = threading.Event()

    def tend() -> None:
        while not over.wait(TEND_S):
            for program in programs:
                program.tend()
        # The kernel kills programs that this thread started when it ends.
        for program in reversed(programs):
            program.end()

    tending = threading.Thread(target=tend, name="tending")
    tending.start()
    try:
        yield
    finally:
        over.set()
        tending.join()
