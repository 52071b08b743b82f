"""Sessions: one chDB connection per client, whose results are never lost or mixed up."""

import contextlib
import json
import re
import uuid
from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from phonemeter.engine.chdb_engine import Chunk, Engine, QueryStatistics
from phonemeter.engine.config import MAX_BUFFERED_RESULT_BYTES
from phonemeter.engine.connection import Connection
from phonemeter.engine.errors import TOO_MANY_BYTES, EngineError
from phonemeter.engine.result_columns import Columns, describe_columns, with_zones
from phonemeter.engine.session_settings import SessionSettings
from phonemeter.engine.spool import Spool
from phonemeter.engine.statements import Insert, Statement

_QUERY_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Session:
    """One client's chDB connection: settings, database, temporary tables. Not for two threads at once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._connection = Connection(engine, self._take_progress)
        self.settings = SessionSettings(self._connection.run)
        self.statistics = QueryStatistics()
        """Progress of the current, or last, streamed query."""
        self.tag = self._prefix = ""

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._connection.close()

    @contextlib.contextmanager
    def for_query(
        self, settings: Mapping[str, str], readonly: str, database: str = "", optional: Container[str] = ()
    ) -> Iterator[Self]:
        """Prepare a session for a query: this one, or a copy for `readonly`, which cannot be undone.

        The settings hold for the query alone; those named in `optional` may be unknown.
        """
        if readonly in {"", "0"}:
            self.settings.use_for_query(database)
            self.settings.apply(settings, optional)
            yield self
            return
        with contextlib.closing(type(self)(self.engine)) as copy:
            copy.settings.use(database or self.settings.database())
            copy.settings.apply(settings, optional)
            copy.settings.apply({**settings, "readonly": readonly})
            yield copy

    def classify(self, sql: str) -> dict[str, object]:
        """Classify a statement by the engine's own parser."""
        return self._connection.classify(sql)

    def name_query(self, query_id: str, statement: Statement) -> str:
        """Name the next query, so that it can be killed; returns its id."""
        query_id = query_id if _QUERY_ID.fullmatch(query_id) else str(uuid.uuid4())
        self.tag = tag_of(query_id)
        if statement.kind == "UseQuery":
            self.settings.keep_database()
        self._prefix = self.tag + " "
        return query_id

    def run(self, statement: Statement, result_format: str) -> tuple[bytes, QueryStatistics]:
        """Run a statement to its end; its result is held in memory, within the limit."""
        sql = statement.text
        if _QUERY_ID.fullmatch(statement.kills):
            sql = f"KILL QUERY WHERE startsWith(query, '{tag_of(statement.kills)}') ASYNC"
        with self.engine.slot():
            result = self._connection.query(self._tagged(sql), result_format)
            self.engine.refuse_failed_writes()
        if result.size() > MAX_BUFFERED_RESULT_BYTES:
            raise EngineError(TOO_MANY_BYTES, f"The result has over {MAX_BUFFERED_RESULT_BYTES} bytes.")
        return result.bytes(), _statistics_of(result)

    def insert(self, insert: Insert, spool: Spool, input_format: str) -> QueryStatistics:
        """Run an INSERT of spooled data: all of it is written, or an error raised."""
        with self.engine.slot():
            result = self._connection.query(
                self._tagged(insert.from_file(spool.path(), input_format)), "Null"
            )
            self.engine.refuse_failed_writes()
            return _statistics_of(result)

    def write(self, sql: str) -> QueryStatistics:
        """Run a statement that writes its result to a file (INTO OUTFILE)."""
        with self.engine.slot():
            return _statistics_of(self._connection.query(self._tagged(sql), "Null"))

    def stream(
        self, statement: Statement, result_format: str, columns: Sequence[tuple[str, str]] | None = None
    ) -> Generator[Chunk]:
        """The result of a SELECT while it is computed. Closing the iterator cancels the query.

        In FORMAT Native the columns have their zones; `columns` are given if they are known.
        """
        if columns is None:
            columns = self.result_columns(statement) if result_format == "Native" else []
        with self.engine.slot():
            self.statistics = QueryStatistics()
            parts = self._connection.stream(self._tagged(statement.text), result_format)
            with contextlib.closing(parts):
                for part in parts:
                    yield Chunk(with_zones(part.bytes(), columns), part.rows_read())

    def columns_of(self, select: str) -> Columns:
        """The columns that a SELECT returns."""
        return describe_columns(self._connection.run, select)

    def result_columns(self, statement: Statement) -> Columns:
        """The columns of a result; none for statements without one, or that the engine cannot read."""
        if statement.streams:
            with contextlib.suppress(EngineError):
                return self.columns_of(statement.text)
            return []
        if not statement.repeatable:
            return []
        answer = json.loads(self._connection.run(statement.text, "JSONCompact"))
        return [(column["name"], column["type"]) for column in answer["meta"]]

    def _take_progress(self, progress: Mapping[str, int]) -> None:
        """Take the engine's report on the running query; it is more complete than that of its chunks."""
        known = self.statistics
        self.statistics = QueryStatistics(
            read_rows=max(known.read_rows, progress["read_rows"]),
            read_bytes=max(known.read_bytes, progress["read_bytes"]),
            total_rows_to_read=max(known.total_rows_to_read, progress["total_rows_to_read"]),
        )

    def _tagged(self, sql: str) -> str:
        return self._prefix + sql


def _statistics_of(result: Any) -> QueryStatistics:  # noqa: ANN401 - chDB ships no types
    return QueryStatistics(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
    )


def tag_of(query_id: str) -> str:
    """The comment that marks a query in system.processes."""
    return f"/* phonemeter:{query_id} */"
