"""uv in `.tools/bin`, of the version and with the checksums of `tools/uv.txt`: `python3 -m tools.uv`."""

import os
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tools.debian import NotToBeHadError, unpacked

TOOLS: Final = Path(__file__).parents[1] / ".tools"
REQUIREMENT: Final = Path(__file__).with_suffix(".txt")
OUTPUT_CHARS_MAX: Final = 300


def install() -> None:
    """Fetch uv by pip, which takes the index, the mirrors and the proxies of the user's configuration.

    Raises:
        NotToBeHadError: there is no pip, or it could not.
    """
    command = (
        *(*_pip(), "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"),
        *("--upgrade", "--target", str(TOOLS), "--requirement", str(REQUIREMENT)),
    )
    # A user's habit of installing for himself does not go together with a target.
    environ = {**os.environ, "PIP_USER": "0"}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - pip
    if ran.returncode != 0:
        said = " ".join(ran.stderr.split())[-OUTPUT_CHARS_MAX:]
        raise NotToBeHadError(f"pip could not; check the network and pip's settings. It said: {said}")


def _pip() -> tuple[str, ...]:
    """The command of some pip: Python's own, the one that Python brings along, or Debian's."""
    if find_spec("pip") is not None:
        return sys.executable, "-m", "pip"
    if find_spec("ensurepip") is not None:
        own = TOOLS / "pip"
        venv.create(own, clear=True, with_pip=True)
        return str(own / "bin" / "python"), "-m", "pip"
    files = unpacked(
        ("python3-pip-whl",), TOOLS / "pip", f"install pip for {sys.executable} as your system does it"
    )
    (wheel,) = files.rglob("pip-*.whl")
    return sys.executable, str(wheel / "pip")


if __name__ == "__main__":
    try:
        install()
    except NotToBeHadError as error:
        sys.exit(f"uv is needed to install everything else. {error}")
