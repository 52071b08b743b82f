"""Limits of the machine, checked before anything starts: open files, address space, free disk space."""

import resource
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phonemeter.errors import UserError

DISK_FREE_MIN: Final = 64 << 20
"""Kafka's indexes alone, of a fixed size per partition, take as much before the first event."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of this process that its children inherit."""

    what: str
    number: int
    least: int
    flag: str
    """Of the shell's `ulimit`."""
    unit: int = 1
    """Of the shell's figure."""


LIMITS: Final = (
    # An idle broker has 130 open, and more with every segment and connection.
    Limit("open files", resource.RLIMIT_NOFILE, 1024, "-n"),
    # Java and ClickHouse map several times what they use.
    Limit("address space (KiB)", resource.RLIMIT_AS, 8 << 30, "-v", 1024),
    # A segment of Kafka.
    Limit("the size of a file (KiB)", resource.RLIMIT_FSIZE, 1 << 30, "-f", 1024),
)


def check_limits(directory: Path) -> None:
    """Check the limits that services need; raise those that this process may raise by itself.

    Raises:
        UserError: one is too small, or the disk of the directory is full.
    """
    for limit in LIMITS:
        _raise_or_refuse(limit)
    free = shutil.disk_usage(directory).free
    if free < DISK_FREE_MIN:
        raise UserError(
            f"The disk of {directory} has {free >> 20} MiB left and the stack needs {DISK_FREE_MIN >> 20} to "
            f"start: free some, or set PHONEMETER_DATA_DIR (data_dir in phonemeter.toml) to another disk."
        )


def _raise_or_refuse(limit: Limit) -> None:
    soft, hard = resource.getrlimit(limit.number)
    if _enough(soft, limit.least):
        return
    if not _enough(hard, limit.least):
        least = limit.least // limit.unit
        raise UserError(
            f"The limit of {limit.what} is {hard // limit.unit:,} and Kafka and ClickHouse need {least:,}: "
            f"raise it with `ulimit {limit.flag} {least}`, or for good in /etc/security/limits.conf."
        )
    resource.setrlimit(limit.number, (limit.least, hard))


def _enough(value: int, least: int) -> bool:
    return value == resource.RLIM_INFINITY or value >= least
