"""A Chromium without a window, and a font with Chinese, which the tests open the console's pages in."""

import shutil
import sys
from pathlib import Path
from typing import Final

from tools.debian import NotToBeHadError, unpacked

NAMES: Final = ("chromium-headless-shell", "chromium")
PACKAGES: Final = ("chromium-headless-shell", "fonts-noto-cjk")
DIRECTORY: Final = Path(__file__).parents[1] / ".tools" / "chromium"
OTHERWISE: Final = (
    "install Debian's packages chromium-headless-shell and fonts-noto-cjk on a machine with apt"
)
PROGRAM: Final = "usr/lib/chromium/chromium-headless-shell"
LAUNCHER: Final = """#!/bin/sh
# Its libraries and fonts are found from here, see tools/chromium.py.
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$(find "$here/usr/lib" -maxdepth 2 -type d -path '*-linux-gnu*' | tr '\\n' ':')
FONTCONFIG_FILE="$here/fonts.conf"
XDG_CACHE_HOME="$here/cache"
export LD_LIBRARY_PATH FONTCONFIG_FILE XDG_CACHE_HOME
exec "$here/PROGRAM" "$@"
"""
FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias><family>sans-serif</family><prefer><family>Noto Sans CJK SC</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>Noto Sans Mono CJK SC</family></prefer></alias>
</fontconfig>
"""


def program() -> Path:
    """Path of the browser: the machine's own, or Debian's, fetched into `.tools` if it is not there yet.

    Raises:
        NotToBeHadError: it can be had in neither way.
    """
    installed = next(filter(None, map(shutil.which, NAMES)), None)
    if installed is not None:
        return Path(installed)
    return unpacked(PACKAGES, DIRECTORY, OTHERWISE, launched, with_needs=True) / "chromium"


def launched(files: Path) -> None:
    """Put a program beside the files that starts the browser with the libraries and fonts among them."""
    (files / "fonts.conf").write_text(FONTS)
    launcher = files / "chromium"
    launcher.write_text(LAUNCHER.replace("PROGRAM", PROGRAM))
    launcher.chmod(0o755)


if __name__ == "__main__":
    try:
        program()
    except NotToBeHadError as error:
        sys.exit(f"A Chromium is needed to test the console. {error}")
