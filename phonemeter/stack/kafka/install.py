"""Jars by a lock file: fetched once into a directory that every stack of the user shares."""

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from phonemeter.errors import OperationError
from phonemeter.stack.launch import child_command

KAFKA: Final = Path(__file__).with_name("jgo.lock.toml")
DOWNLOAD_TIMEOUT_S = 540
OUTPUT_CHARS_MAX = 300


def installed_libs(cache_dir: Path, lock: Path = KAFKA) -> Path:
    """Directory of the jars that a lock file names, downloaded now if it is not there yet. Blocking.

    The name of the directory has a digest of the lock file, so another version has another directory. A
    download goes to a temporary directory that is renamed when it is complete.

    Raises:
        OperationError: the jars could not be fetched, or are not the locked ones.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    libs = cache_dir / f"{lock.parent.name}-libs-{digest}"
    if libs.is_dir():
        return libs
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(cache_dir / "download.lock"):
        if not libs.is_dir():
            _download(lock, libs)
    return libs


def _download(lock: Path, libs: Path) -> None:
    """Download in a child process, which ends with this one."""
    with tempfile.TemporaryDirectory(prefix=f"{libs.name}.partial-", dir=libs.parent) as partial:
        target = Path(partial, "libs")
        target.mkdir()
        try:
            result = subprocess.run(  # noqa: S603 - our own module
                child_command(
                    (sys.executable, "-m", "phonemeter.stack.kafka.download", str(lock), str(target))
                ),
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OperationError(
                f"Kafka's jars were not fetched within {DOWNLOAD_TIMEOUT_S} s; try again."
            ) from None
        if result.returncode != 0:
            said = " ".join(result.stderr.split())[-OUTPUT_CHARS_MAX:]
            raise OperationError(
                "Kafka's jars could not be fetched; check the network, or name a mirror of Maven's central "
                f"repository in ~/.m2/settings.xml. The download said: {said}"
            )
        target.rename(libs)


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
