"""AsyncAPI's own schemas of its documents, `@asyncapi/specs`, which the tests check ours with."""

import sys
from pathlib import Path
from typing import Final

from tools import node_packages
from tools.debian import NotToBeHadError

DIRECTORY: Final = node_packages.TOOLS / "asyncapi"
LOCKED: Final = Path(__file__).with_name("npm") / "asyncapi"


def schema_file(target: Path = DIRECTORY) -> Path:
    """The file of the schema of AsyncAPI 3.0.0.

    Raises:
        NotToBeHadError: npm could not fetch it.
    """
    found = node_packages.modules(LOCKED, target, "@asyncapi/specs")
    return found / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"


if __name__ == "__main__":
    try:
        schema_file()
    except NotToBeHadError as error:
        sys.exit(f"@asyncapi/specs is needed to test the description of events. {error}")
