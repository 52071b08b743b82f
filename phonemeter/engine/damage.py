"""Reaction to damaged parts and failed writes: the process ends, because a restart repairs them.

chDB 4.4 ignores a failed write (a full disk) and commits parts whose files are empty, but counts such
failures. A restart detaches broken parts and restores the parts that they were merged from, which are kept
for eight minutes. So the engine ends at the first failed write, at once, and acknowledges no INSERT after
it.

Damage that a query finds later ends the engine as well, but only once in a while: if a restart does not
help, the engine goes on with the other parts.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from phonemeter.engine.errors import EngineError

EXIT_DAMAGED: Final = 3
ROOM_BYTES_MIN: Final = 32 * 2**20
ROOM_LOOK_S: Final = 1.0
NOTE: Final = "ended_for_damage"
"""File in the data directory; its age is the time since the engine last ended for damage."""

AGAIN_AFTER_S: Final = 600.0
LOOK_S: Final = 0.2
"""Shorter than a merge of what was just merged."""


def wait_for_room(data: Path) -> None:
    """Wait until the disk has some room: the directory must not be opened on a full disk."""
    reported = False
    while (room_bytes := shutil.disk_usage(data).free) < ROOM_BYTES_MIN:
        if not reported:
            _report(
                f"The disk of {data} has {room_bytes >> 20} MiB left: the engine waits until there are "
                f"{ROOM_BYTES_MIN >> 20} MiB; make room."
            )
            reported = True
        time.sleep(ROOM_LOOK_S)


def _report(sentence: str) -> None:
    # The log may be on the same full disk.
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)  # noqa: T201 - the sentence is for the operator


class DamageHandler:
    """Ends the process when its data is damaged, by `end`, which does not return. For any thread."""

    def __init__(self, data: Path, end: Callable[[int], None] = os._exit) -> None:
        self._data = data
        self._note = data / NOTE
        self._end = end
        self._lock = threading.Lock()

    def report_damaged_part(self, error: EngineError) -> None:
        """End the process because a query found a damaged part."""
        with self._lock:
            if self._ended_recently():
                return
            with contextlib.suppress(OSError):
                self._note.touch()
            self._exit(
                f"A part of a table is damaged ({error.sentence.partition(': (while')[0]}): the engine ends, "
                f"because the next start puts the part aside; `phonemeter audit` then tells what is missing."
            )

    def report_failed_write(self) -> None:
        """End the process because a file could not be written."""
        with self._lock:
            self._exit(
                f"A file in {self._data} could not be written, most likely because its disk is full: the "
                f"engine ends before anything relies on it, and the next start has all that was acknowledged."
            )

    def watch(self, failed_writes: Callable[[], int]) -> None:
        """Look for failed writes in a thread of its own: those of merges are not reported to any query."""

        def look() -> None:
            failed = 0
            while not failed:
                time.sleep(LOOK_S)
                with contextlib.suppress(RuntimeError):
                    failed = failed_writes()
            self.report_failed_write()

        threading.Thread(target=look, name="damage", daemon=True).start()

    def _exit(self, sentence: str) -> None:
        _report(sentence)
        self._end(EXIT_DAMAGED)

    def _ended_recently(self) -> bool:
        try:
            age_s = time.time() - self._note.stat().st_mtime
        except OSError:
            return False
        return 0 <= age_s < AGAIN_AFTER_S
