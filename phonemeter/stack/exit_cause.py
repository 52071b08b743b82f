"""The error that ended a service, found in its log, and advice on known causes."""

import json
import re
import shutil
from pathlib import Path
from typing import Final, NamedTuple

TAIL_BYTES: Final = 64_000
SENTENCE_CHARS_MAX: Final = 600
DISK_FULL: Final = 4 << 20
"""Free space below which a disk counts as full: a last write may not have fitted into it."""


class Cause(NamedTuple):
    """A known cause: the system's message for it, and advice."""

    said: re.Pattern[str]
    advice: str


CAUSES: Final = (
    Cause(re.compile("No space left on device"), "The disk of {directory} is full: make room there."),
    Cause(
        re.compile("Too many open files"),
        "The limit of open files is too small: raise it with `ulimit -n 65536`.",
    ),
    Cause(
        re.compile(r"OutOfMemoryError: Java heap space|OutOfMemoryError: GC overhead"),
        "Kafka's heap is too small: set PHONEMETER_KAFKA_HEAP_MB (kafka_heap_mb in phonemeter.toml) to more.",
    ),
    Cause(
        re.compile("unable to create (new )?native thread|can't start new thread|Cannot create thread"),
        "The limit of processes and threads is too small: raise it with `ulimit -u`.",
    ),
    Cause(
        re.compile(
            "insufficient memory for the Java|Could not (allocate|reserve)|Cannot allocate memory|MemoryError"
        ),
        "There is too little memory: close other programs, or lift the limit with `ulimit -v unlimited`.",
    ),
)

NOISE: Final = re.compile(
    # Empty lines, frames of a stack trace, and the lines around them.
    r"$|\s|\.\.\. |Traceback |The above exception|During handling of|.*hread 0x|Extension modules: "
    # Lines of a log below the level of errors, and the worker's line before a stack trace.
    r"|.{0,60}?\b(TRACE|DEBUG|INFO|WARN|WARNING)\b|.*We experienced a crash!"
    # Output of programs at their start.
    r"|\{|[^\w\s\[\"'(]|NOTE: Picked up"
)
CRASH: Final = "Fatal Python error: "
"""Text of Python's fault handler when a signal such as SIGSEGV ends the process."""
CRASHED_AT: Final = re.compile(
    r'^Current thread 0x\w+ \(most recent call first\):\n  File "(?:.*/)?(.+)", line (\d+) in (.+)',
    re.MULTILINE,
)
PREFIX: Final = re.compile(
    r"(?:\[?\d{4}-\d\d-\d\d[T ][\d:,.]+Z?\]?\s+)?(?:\[\d+\]\s+)?"
    r"(?:\[?(?:ERROR|CRITICAL|FATAL)\]?:?\s+)?(?:[a-z_]+(?:\.[a-z_]+)+:\s+)?"
    r"(?:Caused by:\s+)?(?:(?:[\w$]+\.)+[\w$]+:\s+)*"
)


def last_error(log: Path, begin: int = 0) -> str:
    """The most informative line logged from `begin` on, without its prefix; empty if there is none."""
    text = "\n".join(map(_readable, _tail(log, begin).splitlines()))
    lines = text.splitlines()
    known = (line for line in reversed(lines) if any(cause.said.search(line) for cause in CAUSES))
    telling = (line for line in reversed(lines) if not NOISE.match(line))
    chosen = next(known, None) or next(telling, "")
    if chosen.startswith(CRASH):
        return f"{chosen}, {_crash_site(text[text.rindex(CRASH) :])}"
    return PREFIX.sub("", chosen.strip(), count=1).rstrip(".")[:SENTENCE_CHARS_MAX]


def advice(words: str, directory: Path) -> str:
    """Advice on a known cause; empty if the cause is unknown."""
    if shutil.disk_usage(directory).free < DISK_FULL:
        # The log may be incomplete then.
        return CAUSES[0].advice.format(directory=directory)
    found = (cause.advice for cause in CAUSES if cause.said.search(words))
    return next(found, "").format(directory=directory)


def _readable(line: str) -> str:
    """A line as it would be in a log of text, with what an exception adds; JSON of other kinds unchanged."""
    if not line.startswith("{"):
        return line
    try:
        read = json.loads(line)
        return "\n".join((f"{read['level']} {read['message']}", read.get("exception") or "")).rstrip()
    except (ValueError, KeyError, TypeError):
        return line


def _crash_site(dump: str) -> str:
    """The place of a crash in a dump of Python's fault handler."""
    found = CRASHED_AT.search(dump)
    if found is None:
        return "in a thread of a library"
    file, line, function = found.groups()
    return f"in {function} ({file}, line {line})"


def _tail(log: Path, begin: int) -> str:
    if not log.exists():
        return ""
    size = log.stat().st_size
    with log.open("rb") as file:
        # A log that grew too large was truncated meanwhile.
        file.seek(max(begin if begin <= size else 0, size - TAIL_BYTES))
        return file.read().decode(errors="replace")
