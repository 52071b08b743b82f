"""Signals that end a service."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def stop_on_signals(stopping: threading.Event, remaining_work: str) -> Iterator[None]:
    """Have SIGTERM and SIGINT set `stopping`, and log what is still done then."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("%s: %s.", signal.Signals(number).name, remaining_work)
        stopping.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
