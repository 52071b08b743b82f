"""Recipients: routes that owners of apps have set up for themselves, read again while the notifier runs."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sinks.notifier.errors import RoutesError
from sinks.notifier.metrics import Metrics
from sinks.notifier.routes import RecipientRoutes, Routes

log = logging.getLogger(__name__)

READ_S: Final = 2.0
"""Interval between two readings of the recipients."""

ReadRecipients = Callable[[], RecipientRoutes]
"""A function that reads the recipients; it raises RoutesError while they can't be read."""


class CurrentRecipients:
    """The recipients in effect; while they can't be read they stay as they are.

    Attributes:
        newest: as they were read last; None until the first time.
        refusal: the reason why they can't be read now; empty if they can.
    """

    def __init__(self, read: ReadRecipients, metrics: Metrics) -> None:
        self._read = read
        self._metrics = metrics
        self.newest: RecipientRoutes | None = None
        self.refusal = ""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Read them in a thread within the block: a slow database must not hold up attempts."""
        stop = threading.Event()

        def follow() -> None:
            self.read_again()
            while not stop.wait(READ_S):
                self.read_again()

        thread = threading.Thread(target=follow, name="phonemeter-recipients", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()

    def read_again(self) -> None:
        """Read them, or note why they can't be read."""
        try:
            found = self._read()
        except RoutesError as error:
            if str(error) != self.refusal:
                meanwhile = (
                    "Alerts are held for owners' recipients, who are unknown"
                    if self.newest is None
                    else "The previous recipients stay in effect"
                )
                log.error("%s: %s", meanwhile, error)  # noqa: TRY400 - a sentence, no bug
            self.refusal = str(error)
            return
        self.refusal = ""
        if found != self.newest:
            self.newest = found
            log.info("The owners' recipients were read: %d.", len(found.routes))
        self._metrics.recipients.set(len(found.routes))


def joined(
    of_file: Callable[[], Routes | None], of_owners: CurrentRecipients | None
) -> Callable[[], Routes | None]:
    """The routes of the file with the recipients of owners; None where neither are set up."""
    made: dict[str, tuple[Routes | None, RecipientRoutes | None, Routes]] = {}

    def current() -> Routes | None:
        file = of_file()
        if of_owners is None:
            return file
        newest = of_owners.newest
        before = made.get("newest")
        if before is None or before[0] is not file or before[1] is not newest:
            made["newest"] = before = (file, newest, (file or Routes()).with_recipients(newest))
        return before[2]

    return current
