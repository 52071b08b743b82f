"""Health of the console: it has started, and the business database and ClickHouse answer."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.sessions import SessionStore
from metering.health import Problem, Verdict, starting_verdict

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0


class Health:
    """Verdict on the console.

    Args:
        sessions: the business database is asked through it.
        troubles: reads what does not work now of the other parts.
    """

    def __init__(self, sessions: SessionStore, troubles: Callable[[], Sequence[str]] = tuple) -> None:
        self._sessions = sessions
        self._troubles = troubles
        self._has_looked = False
        self._trouble = ""

    def verdict(self) -> Verdict:
        """Judge the console."""
        if not self._has_looked:
            return starting_verdict("console", "it has just started")
        troubles = [one for one in (self._trouble, *self._troubles()) if one]
        return Verdict("console", tuple(Problem("reachable", one) for one in troubles))

    async def run(self) -> None:
        """Ask the database again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask the database once."""
        try:
            await asyncio.to_thread(self._sessions.ping)
        except RecordsUnavailableError as error:
            if str(error) != self._trouble:
                log.warning("%s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""
        self._has_looked = True
