"""Ending by itself where only a new start helps.

chDB 4.4 takes a write that failed (a full disk) for done, and commits parts whose files are empty. It counts
such failures, though. The next start puts broken parts aside and takes back the parts that they were merged
from, which are kept for eight minutes. So the engine ends at the first failure, at once, without tidying up,
and no INSERT is acknowledged after one.

Damage that is met only later, by a query, ends the engine too, but only once in a while: where a new start
does not help, it goes on with what it has.
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
"""File in the data directory whose age tells when the engine last ended for damage that a query met."""

AGAIN_AFTER_S: Final = 600.0
LOOK_S: Final = 0.2
"""Shorter than a merge of what was just merged."""


def wait_for_room(data: Path) -> None:
    """Do not open the directory on a full disk; return as soon as there is some room."""
    told = False
    while (room_bytes := shutil.disk_usage(data).free) < ROOM_BYTES_MIN:
        if not told:
            _tell(
                f"The disk of {data} has {room_bytes >> 20} MiB left: the engine waits until there are "
                f"{ROOM_BYTES_MIN >> 20} MiB; make room."
            )
            told = True
        time.sleep(ROOM_LOOK_S)


def _tell(sentence: str) -> None:
    # The log may be on the same full disk.
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)  # noqa: T201 - the sentence is for the operator


class Damage:
    """Ends the process; for any thread.

    Args:
        data: the data directory.
        end: how the process ends; it does not return.
    """

    def __init__(self, data: Path, end: Callable[[int], None] = os._exit) -> None:
        self._data = data
        self._note = data / NOTE
        self._end = end
        self._lock = threading.Lock()

    def met(self, error: EngineError) -> None:
        """A query ran into a damaged part."""
        with self._lock:
            if self._ended_lately():
                return
            with contextlib.suppress(OSError):
                self._note.touch()
            self._say(
                f"A part of a table is damaged ({error.sentence.partition(': (while')[0]}): the engine ends, "
                f"because the next start puts the part aside; `phonemeter audit` then tells what is missing."
            )

    def write_failed(self) -> None:
        """A file could not be written."""
        with self._lock:
            self._say(
                f"A file in {self._data} could not be written, most likely because its disk is full: the "
                f"engine ends before anything relies on it, and the next start has all that was acknowledged."
            )

    def watch(self, failed_writes: Callable[[], int]) -> None:
        """Look for failed writes from now on, in a thread of its own: merges tell nobody."""

        def look() -> None:
            failed = 0
            while not failed:
                time.sleep(LOOK_S)
                with contextlib.suppress(RuntimeError):
                    failed = failed_writes()
            self.write_failed()

        threading.Thread(target=look, name="damage", daemon=True).start()

    def _say(self, sentence: str) -> None:
        _tell(sentence)
        self._end(EXIT_DAMAGED)

    def _ended_lately(self) -> bool:
        try:
            age_s = time.time() - self._note.stat().st_mtime
        except OSError:
            return False
        return 0 <= age_s < AGAIN_AFTER_S
