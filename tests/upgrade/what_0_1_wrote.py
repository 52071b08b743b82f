"""Data that phonemeter 0.1 wrote, a partition of each topic and its databases; made by that version."""

import json
import sqlite3
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from metering.records import Record

FOLDER: Final = Path(__file__).with_name("written_by_0_1")
KAFKA: Final[dict[str, Any]] = json.loads((FOLDER / "kafka.json").read_text(encoding="utf-8"))
OPENID_KEY: Final = "b3BlbmlkcyBvZiBhIGZpeHR1cmUsIG5vIHNlY3JldCE="


def records(topic: str) -> list[Record]:
    """The records of a topic."""
    return [
        Record(
            offset, time_ms, _bytes(key), _bytes(value), tuple((name, _bytes(one)) for name, one in headers)
        )
        for offset, time_ms, key, value, headers in KAFKA["topics"][topic]
    ]


def database(name: str, path: Path) -> Path:
    """A database, made at a path from its dump."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
    return path


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
