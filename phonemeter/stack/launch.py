"""Become the command of a service, tied to the life of its supervisor: `launch.py SUPERVISOR_PID COMMAND...`.

Run as a script in the new process, before the program itself: the kernel is asked to kill this process when
the supervisor dies, however it dies, and the request survives `exec`, so it holds for a Java program as well.
Linux only; elsewhere the services are stopped by a supervisor that stops, and outlive one that is killed.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def die_with(supervisor_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; exit if it is gone already."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != supervisor_pid:
        sys.exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted: the command is a list of our own
