"""Commands that do not outlive this process, however it ends."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).with_name("launch.py")


def tied(command: Iterable[str]) -> tuple[str, ...]:
    """The command, to be run as a child: the kernel kills it when the thread that starts it ends."""
    # Isolated and without site-packages: the launcher needs neither, and starts in a fraction of the time.
    return (sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command)
