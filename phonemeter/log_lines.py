"""Log lines of the services: text for people, or JSON, one object a line. Times are UTC, with their zone."""

import logging
import time
from typing import Any, Final, Literal

LogFormat = Literal["text", "json"]

TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIELDS: Final = {"asctime": "time", "levelname": "level", "name": "logger", "message": "message"}
"""The fields of every JSON line, by their names in Python's records."""

JSON_FORMATTER: Final = "pythonjsonlogger.msgspec.MsgspecFormatter"
QUIET: Final = ("kafka", "aiokafka", "aiohttp", "uvicorn", "alembic", "clickhouse_driver")
"""Client libraries of which only errors are logged."""


def use_utc() -> None:
    """Give every formatter of this process times in RFC 3339 and UTC, also those of libraries."""
    logging.Formatter.converter = time.gmtime
    logging.Formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    logging.Formatter.default_msec_format = "%s.%03dZ"


def configure(log_format: LogFormat, service: str) -> None:
    """Log from level INFO on to stderr; of client libraries, only errors."""
    from logging.config import dictConfig  # noqa: PLC0415 - only services need it, and not --help

    dictConfig(configuration(log_format, service, quiet=QUIET))
    # No line shows any of these, and collecting them takes half the time of a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as Python's logging HOWTO says


def configuration(log_format: LogFormat, service: str, quiet: tuple[str, ...] = ()) -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig`; `service` is a field of every JSON line."""
    formatter: dict[str, Any] = {"format": TEXT}
    if log_format == "json":
        formatter = {
            "()": JSON_FORMATTER,
            "fmt": list(FIELDS),
            "rename_fields": {**FIELDS, "exc_info": "exception", "stack_info": "stack"},
            "static_fields": {"service": service},
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {library: {"level": "ERROR"} for library in quiet},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }


def in_json() -> bool:
    """Return whether this process logs JSON lines."""
    formatters = (type(handler.formatter) for handler in logging.root.handlers)
    return any(f"{one.__module__}.{one.__qualname__}" == JSON_FORMATTER for one in formatters)
