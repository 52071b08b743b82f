"""Assets of other projects that the console serves: uPlot, put beside the console's own files.

`make setup` and the build of the wheel put it there; git does not keep it.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

from tools import node_packages
from tools.debian import NotToBeHadError

DIRECTORY: Final = node_packages.TOOLS / "console"
LOCKED: Final = Path(__file__).with_name("npm") / "console"
ASSETS: Final = Path(__file__).parents[1] / "dashboards" / "console" / "assets"
FILES: Final = ("dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE")


def put(assets: Path = ASSETS) -> None:
    """Put the files of the release that the lock file names into `assets`.

    Raises:
        NotToBeHadError: npm could not fetch it.
    """
    package = node_packages.modules(LOCKED, DIRECTORY, "uPlot") / "uplot"
    (assets / "uplot").mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(package / name, assets / "uplot" / Path(name).name)


if __name__ == "__main__":
    try:
        put()
    except NotToBeHadError as error:
        sys.exit(f"uPlot is needed to draw the console's curves. {error}")
