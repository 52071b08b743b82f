"""axe-core, which the tests look for barriers in the console's pages with."""

import sys
from pathlib import Path
from typing import Final

from tools import node_packages
from tools.debian import NotToBeHadError

DIRECTORY: Final = node_packages.TOOLS / "axe"
LOCKED: Final = Path(__file__).with_name("npm") / "axe"


def script(target: Path = DIRECTORY) -> Path:
    """The file of the script.

    Raises:
        NotToBeHadError: npm could not fetch it.
    """
    return node_packages.modules(LOCKED, target, "axe-core") / "axe-core" / "axe.min.js"


if __name__ == "__main__":
    try:
        script()
    except NotToBeHadError as error:
        sys.exit(f"axe-core is needed to test the console. {error}")
