"""Exceptions turned into one sentence and an exit status."""

import logging
import os
import shutil
import sys
import textwrap
import traceback
from typing import Final

from phonemeter import log_lines
from phonemeter.errors import PhonemeterError, UserError

FAILED: Final = 1
OURS: Final = frozenset(
    {"phonemeter", "producers", "sinks", "streams", "dashboards", "http_service", "metering"}
)
REFUSALS: Final = {
    ("sinks.errors", "SinkError"),
    ("producers.wechat.errors", "WechatFileError"),
    ("producers.wechat.errors", "WechatPortError"),
    ("http_service.errors", "ServicePortError"),
    ("dashboards.wechat_pay.errors", "WechatPayFileError"),
}
"""Errors of the stages that mean wrong settings; a supervisor need not restart the service."""

SENTENCE_CHARS_MAX: Final = 2_000

LIBRARIES: Final = {
    ("kafka.errors", "KafkaError"): "Kafka did not do what was asked",
    ("clickhouse_driver.errors", "Error"): "ClickHouse did not do what was asked",
}
"""Errors of libraries that may get here, by the name of their base class, so that none is imported."""

OTHERWISE_FAILED: Final = {"kafka": "Kafka", "clickhouse_driver": "ClickHouse"}
"""Libraries that also raise errors of other classes than their own, with the server that each talks to."""


def report(error: Exception) -> int:
    """Print `error` on stderr and return the exit status."""
    from metering.printable_text import printable  # noqa: PLC0415 - only commands that fail need it, and not --help

    if "PHONEMETER_DEBUG" in os.environ:
        traceback.print_exception(error)
    text = printable(sentence(error)[:SENTENCE_CHARS_MAX])
    if log_lines.in_json():
        logging.getLogger("phonemeter").critical("%s", text)
    else:
        sys.stderr.write(f"{_wrapped_at_terminal(text)}\n")
    if isinstance(error, PhonemeterError):
        return error.exit_status
    return UserError.exit_status if REFUSALS & set(_bases(error)) else FAILED


def _wrapped_at_terminal(text: str) -> str:
    """A sentence wrapped at the width of the terminal; a long word, like a path, stays whole."""
    if not sys.stderr.isatty():
        return text
    columns = shutil.get_terminal_size().columns
    return textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)


def sentence(error: Exception) -> str:
    """The sentence about an error: its own if it is an expected one."""
    if type(error).__module__.partition(".")[0] in OURS:
        return str(error)
    for base in _bases(error):
        if base in LIBRARIES:
            return f"{LIBRARIES[base]}: {_first_line(error)}"
    if isinstance(error, OSError):
        return (
            f"The system refused: {error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
        )
    from sinks.errors import raised_by  # noqa: PLC0415 - as above

    server = OTHERWISE_FAILED.get(raised_by(error))
    if server is not None:
        return (
            f"{server} did not do what was asked: its client failed with {type(error).__name__} "
            f"({_first_line(error)}); see phonemeter status, and try again."
        )
    return (
        f"phonemeter has a bug: {type(error).__name__}: {_first_line(error)}. "
        f"Set PHONEMETER_DEBUG=1 and run it again to see where, and report it."
    )


def _bases(error: Exception) -> list[tuple[str, str]]:
    return [(base.__module__, base.__name__) for base in type(error).__mro__]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
