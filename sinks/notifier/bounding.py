"""A bound for the whole of an attempt, whatever a library, a name server or a slow receiver does in it."""

import threading
from collections import defaultdict
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from sinks.notifier.planning import Outcome

LEFT_MAX: Final = 8
"""Attempts of a route that may be left behind; while there are so many, no other one is begun."""
ENDED_MAX: Final = 100
"""Of those that have ended since, so many are remembered: their messages may have been given up meanwhile."""

Results = SimpleQueue[Outcome | Exception]


class Bounded:
    """Makes attempts that end in time, for the caller at least: one that does not is left to itself.

    It may still deliver. So its message is not attempted again until it has ended, and not even then if it
    has delivered after all.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._left: dict[str, dict[str, Results]] = defaultdict(dict)
        self._lock = threading.Lock()

    def make(self, route: str, message: str, attempt: Callable[[], Outcome]) -> Outcome:
        """Make an attempt to deliver a message on a route; what it raises is raised here."""
        earlier = self._earlier(route, message)
        if earlier is not None:
            return earlier
        results: Results = SimpleQueue()

        def run() -> None:
            try:
                results.put(attempt())
            except Exception as error:  # noqa: BLE001 - carried to whoever waits for the result
                results.put(error)

        threading.Thread(target=run, name=f"phonemeter-{route}-attempt", daemon=True).start()
        try:
            result = results.get(timeout=self._timeout_s)
        except Empty:
            with self._lock:
                self._left[route][message] = results
            return Outcome(delivered=False, reason=f"no end within {self._timeout_s:g} s; it may arrive")
        if isinstance(result, Exception):
            raise result
        return result

    def _earlier(self, route: str, message: str) -> Outcome | None:
        """What is to be said instead of making an attempt, because of attempts that were left behind."""
        with self._lock:
            left = self._left[route]
            results = left.get(message)
            if results is not None and not results.empty():
                del left[message]
                result = results.get()
                return result if isinstance(result, Outcome) and result.delivered else None
            ended = [name for name, one in left.items() if not one.empty()]
            for name in ended[:-ENDED_MAX]:
                del left[name]
            hanging = len(left) - len(ended[-ENDED_MAX:])
        if results is not None:
            return Outcome(delivered=False, reason="an earlier attempt has not ended yet; it may arrive")
        if hanging >= LEFT_MAX:
            return Outcome(delivered=False, reason=f"{hanging} earlier attempts of the route have not ended")
        return None
