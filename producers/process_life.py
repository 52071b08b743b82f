"""Producers and the life of their process: what they do after a fork, and when the interpreter ends.

A thread, and not `atexit`, sees to the end: kafka-python closes its connections there, and from Python 3.12
on no thread can be started by then, which a connection may need.
"""

# Looking an address up imports this module; a fork at that moment would leave it locked in the child.
import encodings.idna  # noqa: F401
import os
import threading
import time
from typing import Final, Protocol
from weakref import WeakSet

EXIT_S: Final = 5.0
"""Time that all producers of a process have for what is queued when it ends."""

WATCH_NAME: Final = "phonemeter-exit"


class Forked(Protocol):
    """An object that another process may get a copy of."""

    def begin_in_child(self) -> None:
        """Leave threads, connections and events to the parent; this is a child process."""


class Unfinished(Protocol):
    """An object that has something to do before its process ends."""

    def end_with_process(self, within_s: float) -> None:
        """Do it within a time."""


class _Life:
    """A party that is told of forks, and of the end of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forked: WeakSet[Forked] = WeakSet()
        self._unfinished: dict[Unfinished, None] = {}
        self._watch: threading.Thread | None = None

    def watch_forks(self, one: Forked) -> None:
        with self._lock:
            self._forked.add(one)

    def watch_end(self, one: Unfinished) -> None:
        with self._lock:
            self._unfinished[one] = None
            if self._watch is None:
                watch = threading.Thread(target=self._await_end, name=WATCH_NAME)
                watch.start()
                self._watch = watch

    def forget(self, one: Unfinished) -> None:
        with self._lock:
            self._unfinished.pop(one, None)

    def begin_in_child(self) -> None:
        # Another thread may have held the lock, and is not here to release it.
        self._lock = threading.Lock()
        self._watch = None
        self._unfinished = {}
        for one in [*self._forked]:
            one.begin_in_child()

    def _await_end(self) -> None:
        """Wait for the threads that the interpreter waits for: they may publish until their end."""
        threading.main_thread().join()
        while others := [one for one in threading.enumerate() if _is_waited_for(one)]:
            for other in others:
                other.join()
        until_s = time.monotonic() + EXIT_S
        for one in [*self._unfinished]:
            one.end_with_process(max(0.0, until_s - time.monotonic()))


def _is_waited_for(thread: threading.Thread) -> bool:
    return not thread.daemon and thread.is_alive() and thread.name != WATCH_NAME


_life: Final = _Life()

watch_forks: Final = _life.watch_forks
watch_end: Final = _life.watch_end
forget: Final = _life.forget

os.register_at_fork(after_in_child=_life.begin_in_child)
