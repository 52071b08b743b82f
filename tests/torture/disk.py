"""The engine's disk, which can be filled."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.torture.processes import Program

DISK_MB = 2_048
"""The size of the file system: small enough to be filled."""

LIMITED_FILE_BYTES = 1_024


class Disk:
    """A directory on a file system of its own, if one can be mounted here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mounted = False

    def mount(self) -> None:
        self.path.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "phonemeter-torture", str(self.path)]
        if shutil.which("mount"):
            self._mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0

    def unmount(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=False)

    @contextlib.contextmanager
    def full(self, engine: Program) -> Iterator[None]:
        """Leave no space for the engine's files, or limit their size if nothing is mounted."""
        if not self._mounted:
            engine.limit_files(LIMITED_FILE_BYTES)
            try:
                yield
            finally:
                engine.limit_files(-1)
            return
        filler = self.path / "filler"
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 20))
            yield
        finally:
            filler.unlink(missing_ok=True)
