"""The end of a service: the signals that ask for it."""

import asyncio
import logging
import signal
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def stopping_event(log: logging.Logger) -> asyncio.Event:
    """An event that is set once a signal asks the service to end, which the log tells."""
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        log.info("%s: ending.", number.name)
        stopping.set()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopping
