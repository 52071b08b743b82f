"""Grafana's own `@grafana/data`, which the tests and the pictures see the dashboards with."""

import sys
from pathlib import Path
from typing import Final

from tools import node_packages
from tools.debian import NotToBeHadError

DIRECTORY: Final = node_packages.TOOLS / "grafana"
LOCKED: Final = Path(__file__).with_name("npm") / "grafana"


def modules(target: Path = DIRECTORY) -> Path:
    """Directory of the modules.

    Raises:
        NotToBeHadError: npm could not fetch them.
    """
    return node_packages.modules(LOCKED, target, "@grafana/data")


if __name__ == "__main__":
    try:
        modules()
    except NotToBeHadError as error:
        sys.exit(f"Grafana's @grafana/data is needed to test the dashboards. {error}")
