"""The only module that touches chDB: opening the directory, and sessions that never lose or mix results.

Four habits of chDB 4.4 are worked around here, and nowhere else:

- a failed query may prefix its partial output to the next result of its connection, so after every
  failure the connection is drained with a query whose result is thrown away;
- its streaming insert reports success for rows it did not write, so every INSERT runs from a spooled
  file;
- a write that fails because the disk is full is taken for done, so an INSERT is acknowledged only if the
  engine counts no such failure, and the process ends at the first (`damage.py`);
- query ids cannot be set, so each query starts with a comment that carries its id, which KILL QUERY
  finds.
"""

import contextlib
import fcntl
import hmac
import importlib
import json
import os
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from phonemeter.engine.config import (
    MAX_BUFFERED_RESULT_BYTES,
    MAX_QUERIES,
    MAX_QUERY_MEMORY_BYTES,
    QUERY_SLOT_WAIT_S,
)
from phonemeter.engine.damage import Damage, wait_for_room
from phonemeter.engine.errors import (
    AUTHENTICATION_FAILED,
    NOT_ENOUGH_SPACE,
    TOO_MANY_BYTES,
    TOO_MANY_QUERIES,
    UNKNOWN_SETTING,
    EngineError,
    from_engine,
)
from phonemeter.engine.spool import Spool
from phonemeter.engine.sql import Insert, Statement

BASELINE: Final = {"implicit_select": "0", "max_memory_usage": str(MAX_QUERY_MEMORY_BYTES)}
"""What every session starts with: typos are syntax errors, and one query cannot take all memory."""
REPEATABLE: Final = frozenset({"SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN"})
"""Statements that cost nothing to ask twice."""
_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_QUERY_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_KILL_BY_ID: Final = re.compile(
    r"\s*KILL\s+QUERY\s+(?:ON\s+CLUSTER\s+\S+\s+)?WHERE\s+query_id\s*=\s*'([^'\\]*)'", re.IGNORECASE
)
_FAILED_WRITES: Final = (
    "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"
)
_KILL_EVERY_S: Final = 0.25


class StartError(Exception):
    """The directory cannot be opened; the text is the sentence for the operator."""


class Written(NamedTuple):
    """What a statement read, wrote and returned."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0


class Chunk(NamedTuple):
    """A piece of a result; in FORMAT Native exactly one block."""

    data: bytes
    rows: int
    read_rows: int
    read_bytes: int


class Engine:
    """The open data directory. Sessions run in parallel; what they share is here.

    Args:
        data: the directory.
        damage: told of damaged parts and failed writes.

    Raises:
        StartError: the directory cannot be served.
    """

    def __init__(self, data: Path, damage: Damage) -> None:
        self._damage = damage
        spool_folder = data / "spool"
        try:
            spool_folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=spool_folder):
                pass
        except OSError as error:
            raise StartError(f"The data directory {data} cannot be written: {error.strerror}.") from error
        _refuse_second_owner(data)
        wait_for_room(data)
        os.environ["TZ"] = "UTC"
        time.tzset()
        # TZ must be set before the engine is loaded, so it is imported here.
        _chdb: Any = importlib.import_module("chdb").__dict__["_chdb"]
        _chdb.set_signal_handlers_enabled(False)
        self.spool_folder = spool_folder
        self._connect: Callable[[], Any] = lambda: _chdb.connect(str(data))
        try:
            self._admin = self._connect()
        except RuntimeError as error:
            raise StartError(f"The engine cannot open {data}: {from_engine(str(error)).sentence}") from error
        self._admin_lock = threading.Lock()
        self._closed = False
        self._slots = threading.BoundedSemaphore(MAX_QUERIES)
        self.version = self._admin.query("SELECT version()", "TSVRaw").bytes().decode().strip()
        damage.watch(self.failed_writes)

    def connect(self) -> Any:  # noqa: ANN401 - chDB ships no types
        """A new chDB connection with the baseline settings."""
        try:
            connection = self._connect()
            connection.query("SET " + ", ".join(f"{k}='{v}'" for k, v in BASELINE.items()), "Null")
        except RuntimeError as error:
            raise from_engine(str(error)) from error
        return connection

    def failed(self, text: str) -> EngineError:
        """What chDB raised, as clients know it; damage is told on the way."""
        error = from_engine(text)
        if error.is_damage:
            self._damage.met(error)
        return error

    def failed_writes(self) -> int:
        """How many writes to files have failed since the start: chDB goes on as if they had not."""
        with self._admin_lock:
            # chDB crashes when it is asked on a connection that is closed.
            return 0 if self._closed else int(self._admin.query(_FAILED_WRITES, "TSVRaw").bytes())

    def refuse_failed_writes(self) -> None:
        """Acknowledge nothing if a write has failed: what was to be written may not be there."""
        if self.failed_writes():
            self._damage.write_failed()
            raise EngineError(NOT_ENOUGH_SPACE, "A file could not be written: the engine starts again.")

    def spool(self) -> Spool:
        """A new place for INSERT data."""
        return Spool(self.spool_folder)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """A place among the queries that run at once; EngineError 202 when none becomes free."""
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
        with self._admin_lock, contextlib.suppress(RuntimeError):
            self._admin.query(f"KILL QUERY WHERE startsWith(query, '{tag}') ASYNC", "Null")

    def kill_all(self) -> None:
        """Ask the engine to stop whatever runs for clients."""
        self.kill("/* phonemeter:")

    def close(self) -> None:
        """Close the directory."""
        with self._admin_lock, contextlib.suppress(RuntimeError):
            self._closed = True
            self._admin.close()


class Session:
    """One client's chDB connection: settings, database, temporary tables. Not for two threads at once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._connection = engine.connect()
        self._applied: dict[str, str] = {}
        self.tag = self._prefix = ""

    def close(self) -> None:
        """Give the connection back, whatever state it is in."""
        with contextlib.suppress(RuntimeError):
            self._connection.close()

    def use(self, database: str) -> None:
        """Make `database` the current one; EngineError 81 if there is none of that name."""
        self.command("USE " + quoted_name(database))

    def database(self) -> str:
        """The current database."""
        return self.command("SELECT currentDatabase()", "TSVRaw").decode().strip()

    def apply(self, settings: Mapping[str, str], optional: Container[str] = ()) -> None:
        """Make exactly these settings hold: earlier ones that are missing go back to their defaults."""
        wanted = dict(settings)
        changes = {
            name: "DEFAULT" for name in self._applied if name not in wanted and not name.startswith("param_")
        }
        changes.update({name: BASELINE[name] for name in changes if name in BASELINE})
        changes = {n: v if v == "DEFAULT" else quoted(v) for n, v in changes.items()}
        changes.update({n: quoted(v) for n, v in wanted.items() if self._applied.get(n) != v})
        for name, value in changes.items():
            if not _SETTING_NAME.fullmatch(name):
                raise EngineError(UNKNOWN_SETTING, f"Unknown setting {name[:100]!r}.")
            try:
                self.command(f"SET {name} = {value}")
            except EngineError as error:
                if name in optional and error.code == UNKNOWN_SETTING:
                    continue
                raise
            if name in wanted:
                self._applied[name] = wanted[name]
            else:
                del self._applied[name]

    @contextlib.contextmanager
    def prepared(
        self, settings: Mapping[str, str], readonly: str, database: str = "", optional: Container[str] = ()
    ) -> Iterator["Session"]:
        """This session with a query's settings, or a throw-away one for `readonly`, which can't be undone."""
        if readonly in {"", "0"}:
            if database:
                self.use(database)
            self.apply(settings, optional)
            yield self
            return
        once = Session(self.engine)
        try:
            once.use(database or self.database())
            once.apply(settings, optional)
            once.apply({**settings, "readonly": readonly})
            yield once
        finally:
            once.close()

    def classify(self, sql: str) -> dict[str, object]:
        """What the engine's own parser says a statement does."""
        try:
            found: dict[str, object] = self._connection.classify_query(sql)
        except RuntimeError as error:
            raise from_engine(str(error)) from error
        return found

    def begin(self, query_id: str, statement: Statement, classified: Mapping[str, object]) -> str:
        """Name the next query, so that it can be killed; returns its id.

        What the engine cannot parse isn't marked, so that the positions in its complaint are right.
        """
        query_id = query_id if _QUERY_ID.fullmatch(query_id) else str(uuid.uuid4())
        self.tag = tag_of(query_id)
        parses = bool(classified.get("statement_count")) or statement.insert is not None
        self._prefix = self.tag + " " if parses else ""
        return query_id

    def command(self, sql: str, result_format: str = "Null") -> bytes:
        """Run a statement of our own and return its output."""
        data: bytes = self._guarded(sql, result_format).bytes()
        return data

    def run(self, statement: Statement, result_format: str) -> tuple[bytes, Written]:
        """Run a statement to its end; the result is held in memory, within its limit."""
        sql = statement.text
        if (kill := _KILL_BY_ID.match(sql)) and _QUERY_ID.fullmatch(kill[1]):
            sql = f"KILL QUERY WHERE startsWith(query, '{tag_of(kill[1])}')" + sql[kill.end() :]
        with self.engine.slot():
            result = self._guarded(self._tagged(sql), result_format)
            self.engine.refuse_failed_writes()
        if result.size() > MAX_BUFFERED_RESULT_BYTES:
            raise EngineError(
                TOO_MANY_BYTES,
                f"The result has over {MAX_BUFFERED_RESULT_BYTES} bytes: use one that streams, such as TSV.",
            )
        return result.bytes(), _written(result)

    def insert(self, insert: Insert, spool: Spool, input_format: str) -> Written:
        """Run an INSERT from what was spooled: all of it, or an error."""
        with self.engine.slot():
            result = self._guarded(self._tagged(insert.from_file(spool.path(), input_format)), "Null")
            self.engine.refuse_failed_writes()
            return _written(result)

    def stream(self, statement: Statement, result_format: str) -> Generator[Chunk]:
        """The result of a SELECT as it comes. Closing the iterator cancels the query."""
        with self.engine.slot():
            stream = None
            try:
                stream = self._connection.send_query(self._tagged(statement.text), result_format)
                while True:
                    part = self._connection.streaming_fetch_result(stream)
                    if part.has_error():
                        raise RuntimeError(part.error_message())  # noqa: TRY301 - one way out for both kinds of failure
                    if not part.size():
                        stream = None
                        return
                    yield Chunk(
                        part.bytes(), part.rows_read(), part.storage_rows_read(), part.storage_bytes_read()
                    )
            except RuntimeError as error:
                stream = None
                self._drain()
                raise self.engine.failed(str(error)) from error
            finally:
                if stream is not None:
                    with contextlib.suppress(RuntimeError):
                        self._connection.streaming_cancel_query(stream)
                    self._drain()

    def columns_of(self, select: str) -> list[tuple[str, str]]:
        """The names and types that a SELECT returns."""
        described = json.loads(self.command(f"DESCRIBE (\n{select}\n)", "JSONCompact"))["data"]
        return [(row[0], row[1]) for row in described]

    def result_columns(self, statement: Statement) -> list[tuple[str, str]]:
        """The columns of a result that had no rows; none for statements that have no result."""
        if statement.streams:
            return self.columns_of(statement.text.rstrip("; \n\t"))
        if statement.keyword not in REPEATABLE:
            return []
        again = json.loads(self.command(statement.text, "JSONCompact"))
        return [(column["name"], column["type"]) for column in again["meta"]]

    def _tagged(self, sql: str) -> str:
        return self._prefix + sql

    def _guarded(self, sql: str, result_format: str) -> Any:  # noqa: ANN401 - chDB ships no types
        try:
            result = self._connection.query(sql, result_format)
        except RuntimeError as error:
            self._drain()
            raise self.engine.failed(str(error)) from error
        if result.has_error():
            self._drain()
            raise self.engine.failed(result.error_message())
        return result

    def _drain(self) -> None:
        """Throw away what a failed query left behind, so that it isn't taken for the next one's result."""
        for _ in range(3):
            with contextlib.suppress(RuntimeError):
                if self._connection.query("SELECT 1", "TSV").bytes() == b"1\n":
                    return


def check_password(user: str, password: str, expected: str) -> None:
    """EngineError 516 unless `user` is `default` (or empty) with the right password."""
    right = hmac.compare_digest(password.encode(), expected.encode())
    if user not in {"default", ""} or not right:
        raise EngineError(
            AUTHENTICATION_FAILED,
            f"{user[:100]}: Authentication failed: wrong password, or no user of that name.",
        )


def _refuse_second_owner(data: Path) -> None:
    """Say in one sentence what the engine would say in a page: another process owns the directory."""
    status = data / "status"
    if not status.exists():
        return
    try:
        with status.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StartError(
            f"Another process is serving the data directory {data}: stop it, or use another directory."
        ) from error
    except OSError as error:
        raise StartError(f"The data directory {data} cannot be opened: {error.strerror}.") from error


def _written(result: Any) -> Written:  # noqa: ANN401 - chDB ships no types
    return Written(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
    )


def tag_of(query_id: str) -> str:
    """The comment that marks a query in system.processes."""
    return f"/* phonemeter:{query_id} */"


def quoted(value: str) -> str:
    """A SQL string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_name(name: str) -> str:
    """A SQL identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
