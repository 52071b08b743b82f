"""The engine: the open data directory, and the parts that its sessions share.

Only `chdb_library.py`, `connection.py` and this module touch chDB. They work around eight faults of chDB
4.4:

- a failed query may prefix its partial output to the next result of its connection, so after every failure
  the connection is drained by a query whose result is discarded;
- its streaming insert reports success for rows that it did not write, so every INSERT runs from a spooled
  file;
- a write that fails because the disk is full is ignored, so an INSERT is acknowledged only if the engine
  counts no such failure, and the process ends at the first (`damage.py`);
- query ids cannot be set, so each query starts with a comment with its id, by which KILL QUERY finds it;
- FORMAT Native leaves out a column's time zone, so the columns of a result are described before the query
  runs, and the zone is put back (`result_columns.py`);
- no connection can be made without a database `default`, so it is created again then;
- a query on a closed connection crashes the process, so shared connections are guarded;
- without `/proc/self/auxv` it may crash while it loads, so confinement allows that file (`confinement.py`).
"""

import contextlib
import hmac
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from phonemeter.engine import access
from phonemeter.engine.chdb_library import load_chdb
from phonemeter.engine.config import (
    MAX_QUERIES,
    MAX_QUERY_BYTES,
    MAX_QUERY_MEMORY_BYTES,
    PARQUET_ROW_GROUP_BYTES,
    QUERY_SLOT_WAIT_S,
)
from phonemeter.engine.damage import DamageHandler, wait_for_room
from phonemeter.engine.directory import StartError, make_folders, refuse_second_owner
from phonemeter.engine.errors import (
    AUTHENTICATION_FAILED,
    NOT_ENOUGH_SPACE,
    TOO_MANY_QUERIES,
    UNKNOWN_DATABASE,
    EngineError,
    from_engine,
)
from phonemeter.engine.spool import Spool
from phonemeter.engine.statements import StatementReader, decoded, encoded

BASELINE: Final = {
    "implicit_select": "0",
    "max_memory_usage": str(MAX_QUERY_MEMORY_BYTES),
    "output_format_parquet_row_group_size_bytes": str(PARQUET_ROW_GROUP_BYTES),
}
"""Settings of every session: typos are syntax errors, and one query cannot take all memory."""
READERS: Final = 2
"""Connections that only parse statements."""
_FAILED_WRITES: Final = (
    "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"
)


class QueryStatistics(NamedTuple):
    """Rows and bytes that a statement read, wrote and returned."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    total_rows_to_read: int = 0


class Chunk(NamedTuple):
    """A piece of a result; in FORMAT Native exactly one block."""

    data: bytes
    rows: int


class AdminConnection:
    """The engine's own chDB connection, for any thread. Returns nothing once it is closed."""

    def __init__(self, chdb_connection: Any) -> None:  # noqa: ANN401 - chDB ships no types
        self._chdb = chdb_connection
        self._lock = threading.Lock()
        self._closed = False

    def query(self, sql: str, result_format: str = "Null") -> bytes:
        """Run a statement and return its output."""
        with self._lock:
            output: bytes = b"" if self._closed else self._chdb.query(sql, result_format).bytes()
        return output

    def close(self) -> None:
        """Close the connection."""
        with self._lock, contextlib.suppress(RuntimeError):
            self._closed = True
            self._chdb.close()


class Engine:
    """The open data directory, and what its sessions share. Sessions run in parallel.

    Raises:
        StartError: the directory cannot be served.
    """

    def __init__(self, data: Path, damage: DamageHandler) -> None:
        self._damage = damage
        spool_folder = make_folders(data)
        refuse_second_owner(data)
        wait_for_room(data)
        os.environ["TZ"] = "UTC"
        time.tzset()
        # chDB reads a config.xml of the current folder.
        os.environ["TMPDIR"] = str(spool_folder)
        os.chdir(spool_folder)
        # TZ must be set before.
        chdb = load_chdb()
        self.spool_folder = spool_folder
        self._connect: Callable[[], Any] = lambda: chdb.connect(access.address(data))
        try:
            access.make_default_database(data)
            self._admin = AdminConnection(self._connect())
            self._readers: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for _ in range(READERS):
                self._readers.put(self.connect({**BASELINE, "max_query_size": str(2 * MAX_QUERY_BYTES)}))
        except (RuntimeError, OSError) as error:
            raise StartError(f"The engine cannot open {data}: {from_engine(str(error)).sentence}") from error
        except EngineError as error:
            raise StartError(f"The engine cannot open {data}: {error.sentence}") from error
        self._slots = threading.BoundedSemaphore(MAX_QUERIES)
        self.read = StatementReader(self._query_reader).read
        self.version = self._admin.query("SELECT version()", "TSVRaw").decode().strip()
        damage.watch(self.failed_writes)

    def connect(self, settings: Mapping[str, str] = BASELINE) -> Any:  # noqa: ANN401 - chDB ships no types
        """A new chDB connection with these settings."""
        try:
            connection = self._connect_anew()
            connection.query("SET " + ", ".join(f"{k}='{v}'" for k, v in settings.items()), "Null")
        except RuntimeError as error:
            raise from_engine(str(error)) from error
        return connection

    def _connect_anew(self) -> Any:  # noqa: ANN401 - chDB ships no types
        try:
            return self._connect()
        except RuntimeError as error:
            if f"Code: {UNKNOWN_DATABASE}." not in str(error):
                raise
        self._admin.query("CREATE DATABASE IF NOT EXISTS default")
        return self._connect()

    def _query_reader(self, query: str) -> list[list[Any]]:
        """The rows of a query about a statement, on a connection for such queries."""
        connection = self._readers.get()
        try:
            answer = connection.query(encoded(query), "JSONCompactEachRow").bytes()
        except (RuntimeError, UnicodeDecodeError) as error:
            drain(connection)
            # The message repeats the query, which need not be UTF-8.
            message = (
                error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)
            )
            raise from_engine(message) from error
        finally:
            self._readers.put(connection)
        return [json.loads(row) for row in decoded(answer).split("\n") if row]

    def failed(self, text: str) -> EngineError:
        """Convert the text of a chDB error, and report damage."""
        error = from_engine(text)
        if error.is_damage:
            self._damage.report_damaged_part(error)
        return error

    def failed_writes(self) -> int:
        """The number of writes to files that have failed since the start."""
        return int(self._admin.query(_FAILED_WRITES, "TSVRaw") or 0)

    def refuse_failed_writes(self) -> None:
        """Raise EngineError 243 if a write has failed: then nothing may be acknowledged."""
        if self.failed_writes():
            self._damage.report_failed_write()
            raise EngineError(NOT_ENOUGH_SPACE, "A file could not be written: the engine starts again.")

    def spool(self) -> Spool:
        """Open a file for INSERT data."""
        return Spool(self.spool_folder)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Take one of the slots for concurrent queries; raises EngineError 202 if none gets free in time."""
        if not self._slots.acquire(timeout=QUERY_SLOT_WAIT_S):
            raise EngineError(
                TOO_MANY_QUERIES, f"{MAX_QUERIES} queries are running already: try again later."
            )
        try:
            yield
        finally:
            self._slots.release()

    def kill(self, tag: str) -> None:
        """Ask the engine to stop the query that carries `tag`."""
        with contextlib.suppress(RuntimeError):
            self._admin.query(f"KILL QUERY WHERE startsWith(query, '{tag}') ASYNC")

    def kill_all(self) -> None:
        """Ask the engine to stop all queries of clients."""
        self.kill("/* phonemeter:")

    def close(self) -> None:
        """Close the directory."""
        self._admin.close()


def drain(connection: Any) -> None:  # noqa: ANN401 - chDB ships no types
    """Discard the output that a failed query left behind, so that it is not returned by the next one."""
    for _ in range(3):
        with contextlib.suppress(RuntimeError):
            if connection.query("SELECT 1", "TSV").bytes() == b"1\n":
                return


def check_password(user: str, password: str, expected: str) -> None:
    """Raise EngineError 516 unless `user` is `default` (or empty) and the password right."""
    right = hmac.compare_digest(password.encode(), expected.encode())
    if user not in {"default", ""} or not right:
        raise EngineError(
            AUTHENTICATION_FAILED,
            f"{user[:100]}: Authentication failed: wrong password, or no user of that name.",
        )
