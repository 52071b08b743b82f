"""Build wheel and sdist of `phonemeter-client` into `dist/`: `python -m tools.client`."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.client.tree import ROOT, write_tree

TREE: Final = ROOT / "build" / "phonemeter-client"


def main(uv: str, out: str) -> int:
    """Build; the exit status."""
    write_tree(TREE)
    command = (uv, "build", "--quiet", "--out-dir", out, str(TREE))
    return subprocess.run(command, check=False).returncode  # noqa: S603 - uv


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    sys.exit(main(given.get(1, "uv"), given.get(2, str(Path(ROOT, "dist")))))
