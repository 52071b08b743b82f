"""Progress of long commands, shown on a terminal."""

import time
from collections.abc import Callable
from typing import Final, Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from phonemeter.terminal import Terminal

PROGRESS_INTERVAL_S: Final = 0.1


class ProgressBar:
    """A progress bar on a terminal; elsewhere nothing."""

    def __init__(self, description: str, total: float | None, console: Terminal) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(description, total=total)
        self._description = description
        self._next_s = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, completed: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """Update the bar; cheap enough to call for every event."""
        now = now_s()
        if now >= self._next_s:
            self._next_s = now + PROGRESS_INTERVAL_S
            self._progress.update(self._task, completed=completed)

    def show_part(
        self, part: str, completed: float, total: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Update the bar of work in several parts, of which each has a total of its own."""
        now = now_s()
        if now >= self._next_s:
            self._next_s = now + PROGRESS_INTERVAL_S
            self._progress.update(
                self._task, description=f"{self._description} {part}", completed=completed, total=total
            )
