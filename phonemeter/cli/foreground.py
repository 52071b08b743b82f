"""Signals of commands that keep a stack in the foreground."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from phonemeter.stack.stack import Stack
from phonemeter.terminal import Terminal

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_by_signals(stack: Stack, console: Terminal) -> Iterator[None]:
    """End the block without error on a stop signal; stop the stack however the block ends."""
    for number in STOP_SIGNALS:
        # nohup and job control ignore some on purpose.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopping ...")
    finally:
        # It takes a few seconds at most, and an interrupted stop would leave processes behind.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
