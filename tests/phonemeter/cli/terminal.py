"""The command line on a terminal of its own, of a given width: what a person at a keyboard sees."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final, NamedTuple

LIMIT_S: Final = 90.0
CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Seen(NamedTuple):
    """The final content of the terminal, and the exit status."""

    returncode: int
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def on_terminal(*arguments: str, columns: int, cwd: Path, typed: str = "", **environ: str) -> Seen:
    """Call `phonemeter` on a terminal, with these keys typed; what is drawn over is left out."""
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "phonemeter", *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=cwd,
        env={**inherited, "TERM": "xterm", "NO_COLOR": "1", **environ},
        start_new_session=True,
    )
    os.close(its)
    os.write(own, typed.encode())
    seen = b""
    with process:
        try:
            while select.select([own], [], [], LIMIT_S)[0]:
                try:
                    seen += os.read(own, 65_536)
                except OSError:
                    break
            return Seen(process.wait(LIMIT_S), _in_the_end(seen.decode()))
        finally:
            process.kill()
            os.close(own)


def _in_the_end(text: str) -> str:
    """The lines without control sequences; of a line that was drawn again, how it was last."""
    lines = CONTROL.sub("", text.replace("\r\n", "\n")).split("\n")
    return "\n".join(line.rsplit("\r", 1)[-1] for line in lines)
