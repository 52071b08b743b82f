"""Ctrl-C and SIGTERM for commands that work on one item after the other."""

import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final, Self, TypeVar

Item = TypeVar("Item")


class Interruption:
    """Ctrl-C and SIGTERM, handled between two items, so that no item is interrupted.

    A second signal raises KeyboardInterrupt at once.
    """

    SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._between_items = False

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._on_signal) for number in self.SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def each(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, until interrupted, also while the next one is waited for."""
        while not self.requested:
            try:
                self._between_items = True
                item = next(items)
            except (StopIteration, KeyboardInterrupt):
                return
            finally:
                self._between_items = False
            yield item

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        impatient, self.requested = self.requested, True
        if impatient or self._between_items:
            raise KeyboardInterrupt
