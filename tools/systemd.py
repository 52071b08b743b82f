"""systemd-analyze, which the units are checked with: the machine's own, or Debian's in `.tools`."""

import os
import shutil
from pathlib import Path
from typing import Final

from tools.debian import unpacked

DIRECTORY: Final = Path(__file__).parents[1] / ".tools" / "systemd"
OTHERWISE: Final = "install systemd so that systemd-analyze is on the PATH"


def analyze(units: Path, target: Path = DIRECTORY) -> tuple[Path, dict[str, str]]:
    """The program, and the environment in which it finds `units` and systemd's own; fetched now if need be.

    Raises:
        NotToBeHadError: it can be had in neither way.
    """
    own = shutil.which("systemd-analyze")
    if own is not None:
        return Path(own), {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    files = unpacked(("systemd", "libsystemd-shared"), target, OTHERWISE, with_needs=True)
    libraries = sorted({str(one.parent) for one in files.rglob("*.so*")})
    environ = {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "SYSTEMD_UNIT_PATH": f"{units}:{files / 'lib/systemd/system'}",
    }
    return files / "usr/bin/systemd-analyze", {**os.environ, **environ}
