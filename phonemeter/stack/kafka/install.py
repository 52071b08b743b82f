"""Kafka's jars: fetched once by Maven into a directory that every stack of the user shares."""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phonemeter.errors import OperationError, UserError
from phonemeter.stack.tied import tied

POM = Path(__file__).with_name("pom.xml")
DOWNLOAD_TIMEOUT_S = 540
OUTPUT_CHARS_MAX = 300


def installed_libs(cache_dir: Path) -> Path:
    """Directory of the jars, downloaded now if it is not there yet. Blocking.

    The directory carries a digest of the pom, so another Kafka version gets another directory. A download
    goes to a temporary directory that is renamed when it is complete: half a one is never taken for a whole.

    Raises:
        UserError: Maven is missing.
        OperationError: Maven could not fetch the jars.
    """
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    libs = cache_dir / f"kafka-libs-{digest}"
    if libs.is_dir():
        return libs
    maven = shutil.which("mvn")
    if maven is None:
        raise UserError(
            "Maven (mvn) is not installed; it fetches Kafka's jars. Install it with: apt-get install -y maven"
        )
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(cache_dir / "download.lock"):
        if not libs.is_dir():
            _download(maven, libs)
    return libs


def _download(maven: str, libs: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{libs.name}.partial-", dir=libs.parent) as partial:
        pom, target = Path(partial, "pom.xml"), Path(partial, "libs")
        shutil.copyfile(POM, pom)
        try:
            result = subprocess.run(  # noqa: S603 - our own pom, Maven from the user's path
                tied(
                    (
                        *(maven, "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(pom)),
                        *("dependency:copy-dependencies", "-DincludeScope=runtime"),
                        f"-DoutputDirectory={target}",
                    )
                ),
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OperationError(
                f"Maven did not fetch Kafka's jars within {DOWNLOAD_TIMEOUT_S} s; try again."
            ) from None
        if result.returncode != 0 or not target.is_dir():
            said = " ".join((result.stdout + result.stderr).split())[:OUTPUT_CHARS_MAX]
            raise OperationError(
                f"Maven could not fetch Kafka's jars; check the network and Maven's settings. It said: {said}"
            )
        target.rename(libs)


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
