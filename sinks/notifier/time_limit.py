"""A time limit for a whole attempt, which holds whatever a library, a name server or a receiver does."""

import threading
from collections import defaultdict
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from sinks.notifier.planning import AttemptOutcome

ABANDONED_MAX: Final = 8
"""Abandoned attempts of a route that may be running; while there are so many, no other one is started."""
ENDED_MAX: Final = 100
"""Abandoned attempts of a route that are remembered after their end, newest last."""

Results = SimpleQueue[AttemptOutcome | Exception]


class TimeLimit:
    """Runs attempts that end in time for the caller: one that takes longer is abandoned, and runs on.

    An abandoned attempt may still deliver. Therefore its message is not attempted again until it has ended,
    and not even then if it has delivered.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._abandoned: dict[str, dict[str, Results]] = defaultdict(dict)
        self._lock = threading.Lock()

    def run(self, route: str, message: str, attempt: Callable[[], AttemptOutcome]) -> AttemptOutcome:
        """Run an attempt to deliver a message on a route; its exceptions are raised here."""
        instead = self._outcome_instead(route, message)
        if instead is not None:
            return instead
        results: Results = SimpleQueue()

        def work() -> None:
            try:
                results.put(attempt())
            except Exception as error:  # noqa: BLE001 - raised by the caller's thread
                results.put(error)

        threading.Thread(target=work, name=f"phonemeter-{route}-attempt", daemon=True).start()
        try:
            result = results.get(timeout=self._timeout_s)
        except Empty:
            with self._lock:
                self._abandoned[route][message] = results
            return AttemptOutcome(
                delivered=False, reason=f"no end within {self._timeout_s:g} s; it may arrive"
            )
        if isinstance(result, Exception):
            raise result
        return result

    def _outcome_instead(self, route: str, message: str) -> AttemptOutcome | None:
        """The outcome to return without an attempt, because of earlier ones that were abandoned."""
        with self._lock:
            abandoned = self._abandoned[route]
            results = abandoned.get(message)
            if results is not None and not results.empty():
                del abandoned[message]
                result = results.get()
                return result if isinstance(result, AttemptOutcome) and result.delivered else None
            # The result of a message that was given up meanwhile is never asked for.
            ended = [name for name, one in abandoned.items() if not one.empty()]
            for name in ended[:-ENDED_MAX]:
                del abandoned[name]
            running = len(abandoned) - len(ended[-ENDED_MAX:])
        if results is not None:
            return AttemptOutcome(
                delivered=False, reason="an earlier attempt has not ended yet; it may arrive"
            )
        if running >= ABANDONED_MAX:
            return AttemptOutcome(
                delivered=False, reason=f"{running} earlier attempts of the route have not ended"
            )
        return None
