"""Ending by itself where only a new start helps: a damaged part of a table is put aside when it is opened.

Until then every query that touches the part fails. Where a new start does not help either, the engine goes on
with what it has: it ends for damage once in a while, not in a circle.
"""

import threading
import time
from pathlib import Path
from typing import Final

from phonemeter.engine.errors import EngineError

NOTE: Final = "ended_for_damage"
"""File in the data directory whose age tells when the engine last ended for damage."""

AGAIN_AFTER_S: Final = 600.0


class Damage:
    """Sets `stopping` when damage is met; `sentence` then says why, for the operator."""

    def __init__(self, data: Path, stopping: threading.Event) -> None:
        self._note = data / NOTE
        self._stopping = stopping
        self._lock = threading.Lock()
        self.sentence = ""

    def met(self, error: EngineError) -> None:
        """Take note of what a query ran into; for any thread."""
        with self._lock:
            if self.sentence or self._ended_lately():
                return
            self.sentence = (
                f"A part of a table is damaged ({error.sentence.partition(': (while')[0]}): the engine ends, "
                f"because the next start puts the part aside; `phonemeter audit` then tells what is missing."
            )
            self._note.touch()
        self._stopping.set()

    def _ended_lately(self) -> bool:
        try:
            age_s = time.time() - self._note.stat().st_mtime
        except OSError:
            return False
        return 0 <= age_s < AGAIN_AFTER_S
