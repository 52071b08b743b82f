"""A `phonemeter repartition` that kills itself: `python -m ... POINT repartition OPTIONS`."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from phonemeter.backup.log_writer import LogWriter
from phonemeter.cli import main
from phonemeter.repartition.log_move import LogMover
from phonemeter.repartition.old_log import OldLog


def _dying_after(of: type, name: str, call: int = 1) -> None:
    """Have a method die after that call."""
    method: Callable[..., Any] = getattr(of, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - those of the method
        nonlocal calls
        result = method(*arguments, **named)
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(of, name, counted)


POINTS: Final[dict[str, tuple[type, str, int]]] = {
    "records": (LogWriter, "confirm", 1),
    "closed": (OldLog, "close", 1),
    "proven": (LogMover, "_proven", 1),
    "aside": (LogMover, "_put_ledger_aside", 1),
    "retired": (OldLog, "retire", 1),
}

if __name__ == "__main__":
    _dying_after(*POINTS[sys.argv.pop(1)])
    main()
