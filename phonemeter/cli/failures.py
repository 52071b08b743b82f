"""From an exception to what its user reads: one sentence, and the exit status."""

import os
import sys
import traceback
from typing import Final

from phonemeter.errors import PhonemeterError, UserError

FAILED: Final = 1
OURS: Final = frozenset({"phonemeter", "producers", "sinks", "streams", "dashboards", "metering"})
REFUSALS: Final = {("sinks.errors", "SinkError")}
"""Errors of the stages that say: as told it cannot work. Supervisors then need not try again."""

SENTENCE_CHARS_MAX: Final = 2_000

LIBRARIES: Final = {
    ("kafka.errors", "KafkaError"): "Kafka did not do what was asked",
    ("clickhouse_driver.errors", "Error"): "ClickHouse did not do what was asked",
}
"""Errors of libraries that reach this place, by their base class: named, so that none has to be imported."""


def report(error: Exception) -> int:
    """Tell `error` on stderr and return the exit status."""
    if "PHONEMETER_DEBUG" in os.environ:
        traceback.print_exception(error)
    sys.stderr.write(f"{sentence(error)[:SENTENCE_CHARS_MAX]}\n")
    if isinstance(error, PhonemeterError):
        return error.exit_status
    return UserError.exit_status if REFUSALS & set(_bases(error)) else FAILED


def sentence(error: Exception) -> str:
    """What to tell about an error: its own sentence if it is an expected one."""
    if type(error).__module__.partition(".")[0] in OURS:
        return str(error)
    for base in _bases(error):
        if base in LIBRARIES:
            return f"{LIBRARIES[base]}: {_first_line(error)}"
    if isinstance(error, OSError):
        return (
            f"The system refused: {error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
        )
    return (
        f"phonemeter has a bug: {type(error).__name__}: {_first_line(error)}. "
        f"Set PHONEMETER_DEBUG=1 and run it again to see where, and report it."
    )


def _bases(error: Exception) -> list[tuple[str, str]]:
    return [(base.__module__, base.__name__) for base in type(error).__mro__]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
