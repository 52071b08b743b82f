"""The routes in effect while the notifier runs: the file is read again when it changes."""

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

CHECK_S: Final = 2.0
"""Interval between two checks of the file. A change is read when it is as old: it may be incomplete."""

Signature = tuple[tuple[int, int, int] | None, ...]


class CurrentRoutes:
    """The routes in effect, and the file that they come from; a file that is refused does not change them.

    Attributes:
        refusal: the reason why the file, as it is now, cannot be used; empty if it can.
    """

    def __init__(
        self, path: Path | None, metrics: Metrics, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the file, if there is one.

        Raises:
            RoutesError: the file, or a secret that it refers to, can't be used.
        """
        self._path = path
        self._metrics = metrics
        self._now_s = now_s
        self._routes: Routes | None = None
        self.refusal = ""
        self._checked_s = now_s()
        self._read_signature = self._signature()
        if path is not None:
            self._routes = read_routes(path)
            metrics.routes.set(len(self._routes.routes))
            # The file's signature is from before it was read, so that a change meanwhile is noticed.
            self._read_signature = (*self._read_signature, *map(_stat, self._routes.files))
        self._checked_signature = self._read_signature

    def __call__(self) -> Routes | None:
        """The routes in effect, None without a file; the file is checked if that is due."""
        if self._path is not None and self._now_s() >= self._checked_s + CHECK_S:
            self._checked_s = self._now_s()
            self._check(self._path)
        return self._routes

    def _check(self, path: Path) -> None:
        before, self._checked_signature = self._checked_signature, self._signature()
        is_at_rest = self._checked_signature == before
        # A secret that a refused file refers to may be corrected without a change of the file.
        if is_at_rest and (self._checked_signature != self._read_signature or self.refusal):
            self._read_signature = self._checked_signature
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            routes = read_routes(path)
        except RoutesError as error:
            if str(error) != self.refusal:
                log.error("The previous routes stay in effect: %s", error)  # noqa: TRY400 - a sentence, no bug
            self.refusal = str(error)
            self._metrics.routes_refused.set(1)
            return
        self.refusal = ""
        self._metrics.routes_refused.set(0)
        self._metrics.routes.set(len(routes.routes))
        if routes != self._routes:
            self._routes = routes
            log.info("The routes file was read again: %d routes.", len(routes.routes))

    def _signature(self) -> Signature:
        """A value that changes with the file, or with a file that it refers to."""
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
