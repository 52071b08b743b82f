"""A program that is kept running, and that can be killed, frozen and kept away."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from phonemeter.stack.tied import tied

ROOT = Path(__file__).parents[2]
RESTART_PAUSE_S = 0.5
END_S_MAX = 8.0


@dataclass
class Program:
    """One program. `tend` starts it again when it has ended; the kernel kills it when this process ends."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    directory: Path
    log: Path
    wanted: bool = False
    ended_by_itself: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _retry_at_s: float = 0.0

    def start(self) -> None:
        """Start it, from now on for good."""
        self.wanted = True
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tied(self.command),
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environ},
                stdout=log,
                stderr=log,
            )

    def tend(self) -> None:
        """What a supervisor does: start it again, a moment after it ended."""
        if not self.wanted or self.running:
            return
        if self.process is not None:
            self.process = None
            self.ended_by_itself += 1
            self._retry_at_s = time.monotonic() + RESTART_PAUSE_S
        elif time.monotonic() >= self._retry_at_s:
            self.start()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(number)

    def kill(self, *, stay_away: bool = False) -> None:
        """Kill -9."""
        self.wanted = not stay_away
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """Ask it to end, and make it."""
        self.wanted = False
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            self.process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def limit_files(self, size_bytes: int) -> None:
        """Let it write no file beyond a size; -1 takes the limit away."""
        if self.process is not None and self.running:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size_bytes, -1))
