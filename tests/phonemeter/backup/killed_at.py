"""A backup or a restore that kills itself: `python -m ... POINT COMMAND DIR`."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from phonemeter.backup import kafka_copy, restoring, taking
from phonemeter.backup.log_writer import LogWriter
from phonemeter.backup.restore_target import RestoreTarget
from phonemeter.cli import main

FILE_BYTES: Final = 4_000
"""So small that the log of a test has many files."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """A function that dies after that call."""
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - those of the function
        nonlocal calls
        result = function(*arguments, **named)
        calls += 1
        if calls == call:
            _die()
        return result

    return counted


async def _flushed(_producer: AIOKafkaProducer) -> None:
    _die()


def _dying_in_a_gap() -> None:
    flushed: Callable[[AIOKafkaProducer], Awaitable[None]] = _flushed
    AIOKafkaProducer.flush = flushed


def _dying_among_files() -> None:
    kafka_copy.FILE_BYTES = FILE_BYTES  # type: ignore[misc] # see there
    taking.STORE_INTERVAL_S = 0.0  # type: ignore[misc] # at once
    kafka_copy.TopicCopier._next_file = _dying(kafka_copy.TopicCopier._next_file, 5)  # type: ignore[method-assign]


def _dying_after(of: type, name: str, call: int) -> Callable[[], None]:
    return lambda: setattr(of, name, _dying(getattr(of, name), call))


POINTS: Final[dict[str, Callable[[], None]]] = {
    "files": _dying_among_files,
    "gap": _dying_in_a_gap,
    "records": _dying_after(LogWriter, "write", 6),
    "rows": _dying_after(restoring._Restore, "write_business", 1),
    "end": _dying_after(RestoreTarget, "_set_timestamp_type", 2),
}

if __name__ == "__main__":
    POINTS[sys.argv.pop(1)]()
    main()
