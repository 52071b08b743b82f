"""Programs of Prometheus and Alertmanager, which the tests try the alerting rules with."""

import shutil
import sys
from pathlib import Path
from typing import Final, Literal

from tools.debian import NotToBeHadError, unpacked

Name = Literal["promtool", "amtool", "prometheus", "alertmanager"]

NAMES: Final[dict[Name, tuple[str, ...]]] = {
    "promtool": ("promtool",),
    "amtool": ("amtool",),
    "prometheus": ("prometheus",),
    # Debian's name first.
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
}
PACKAGES: Final = ("prometheus", "prometheus-alertmanager")
DIRECTORY: Final = Path(__file__).parents[1] / ".tools" / "prometheus"
LAUNCHER: Final = """#!/bin/sh
# What it brings along is found from here, see tools/prometheus.py.
cd "$(dirname "$0")/../.." && exec usr/bin/prometheus-alertmanager.moved "$@"
"""
OTHERWISE: Final = f"install Prometheus and Alertmanager so that {', '.join(NAMES)} are on the PATH"


def program(name: Name) -> str:
    """Path of a program: the machine's own, or Debian's, fetched into `.tools` if it is not there yet.

    Raises:
        NotToBeHadError: it can be had in neither way.
    """
    installed = next(filter(None, map(shutil.which, NAMES[name])), None)
    if installed is not None:
        return installed
    return str(unpacked(PACKAGES, DIRECTORY, OTHERWISE, moved) / "usr" / "bin" / NAMES[name][0])


def moved(files: Path) -> None:
    """Make Alertmanager find the template of its messages where it was unpacked.

    Debian's knows it by an absolute path and does not start without. The same path made relative is as long,
    so it can take its place in the program, which is started in the directory that it is relative to.
    """
    launcher = files / "usr/bin/prometheus-alertmanager"
    binary = launcher.rename(launcher.with_name(f"{launcher.name}.moved"))
    binary.write_bytes(binary.read_bytes().replace(b"/usr/share/prometheus/", b"usr//share/prometheus/"))
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)


if __name__ == "__main__":
    try:
        for each in NAMES:
            program(each)
    except NotToBeHadError as error:
        sys.exit(f"Prometheus and Alertmanager are needed to test the alerts. {error}")
