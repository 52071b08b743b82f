"""The file of routes while the notifier runs: read again when it changes, kept as it was if it is refused."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sinks.notifier.errors import RoutesError
from sinks.notifier.metrics import Metrics
from sinks.notifier.routes import Routes
from sinks.notifier.routes_file import read_routes

log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""How often the file is looked at. A change is taken when it has rested so long: it may be half written."""

Signature = tuple[tuple[int, int, int] | None, ...]


class CurrentRoutes:
    """The routes in effect, and the file that they come from; none if there is no file."""

    def __init__(
        self, path: Path | None, metrics: Metrics, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the file.

        Raises:
            RoutesError: the file, or what it refers to, can't be used.
        """
        self._path = path
        self._metrics = metrics
        self._now_s = now_s
        self._routes: Routes | None = None
        self._refusal = ""
        self._looked_s = now_s()
        self._taken = self._signature()
        if path is not None:
            self._routes = read_routes(path)
            metrics.routes.set(len(self._routes.routes))
            # As it was before it was read: what changes meanwhile is a change.
            self._taken = (*self._taken, *map(_stat, self._routes.files))
        self._seen = self._taken

    def __call__(self) -> Routes | None:
        """The routes as they are now; the file is looked at, if that was a while ago."""
        if self._path is not None and self._now_s() >= self._looked_s + LOOK_S:
            self._looked_s = self._now_s()
            self._look(self._path)
        return self._routes

    def _look(self, path: Path) -> None:
        before, self._seen = self._seen, self._signature()
        rested = self._seen == before
        # What a refused file refers to may be put right without a change of the file.
        if rested and (self._seen != self._taken or self._refusal):
            self._taken = self._seen
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            routes = read_routes(path)
        except RoutesError as error:
            if str(error) != self._refusal:
                log.error("The routes stay as they were: %s", error)  # noqa: TRY400 - a sentence, no bug
            self._refusal = str(error)
            self._metrics.routes_refused.set(1)
            return
        self._refusal = ""
        self._metrics.routes_refused.set(0)
        self._metrics.routes.set(len(routes.routes))
        if routes != self._routes:
            self._routes = routes
            log.info("The file of routes was read again: %d routes.", len(routes.routes))

    def _signature(self) -> Signature:
        """What changes with the file, or with a file that it refers to."""
        if self._path is None:
            return ()
        files = self._routes.files if self._routes else ()
        return tuple(_stat(file) for file in (self._path, *files))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
