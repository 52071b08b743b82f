"""Commands that do not outlive the process that starts them, however it ends.

This file is also the script that runs first in the new process: `launch.py PARENT_PID COMMAND...`. It has the
kernel kill the process when its parent dies; the request survives `exec`, so it holds for a Java program too.
Linux only: elsewhere a supervisor that is killed leaves its services running.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterable

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def child_command(command: Iterable[str]) -> tuple[str, ...]:
    """The command to run as a child: the kernel kills it when the thread that starts it ends."""
    # Isolated and without site-packages: the script needs neither, and starts in a fraction of the time.
    return (sys.executable, "-I", "-S", os.path.abspath(__file__), str(os.getpid()), *command)  # noqa: PTH100 - pathlib is slow to import


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; exit if it is gone already."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent_pid:
        sys.exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted: the command is a list of our own
