"""A chDB connection that is safe to go on with after an error or an abandoned stream."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any

from phonemeter.engine.chdb_engine import Engine, drain
from phonemeter.engine.errors import from_engine
from phonemeter.engine.statements import encoded


class Connection:
    """A chDB connection of its own; reports the counts of the running query. Not for two threads at once."""

    def __init__(self, engine: Engine, on_progress: Callable[[Mapping[str, int]], None]) -> None:
        self._engine = engine
        self._chdb = engine.connect()
        self._chdb.set_progress_callback(on_progress)

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        with contextlib.suppress(RuntimeError):
            # Otherwise the connection keeps the callback's owner, which keeps the connection.
            self._chdb.set_progress_callback(None)
            self._chdb.close()

    def run(self, sql: str, result_format: str = "Null") -> bytes:
        """Run a statement and return its output."""
        output: bytes = self.query(sql, result_format).bytes()
        return output

    def query(self, sql: str, result_format: str) -> Any:  # noqa: ANN401 - chDB ships no types
        """Run a statement and return chDB's result."""
        try:
            result = self._chdb.query(encoded(sql), result_format)
        except RuntimeError as error:
            drain(self._chdb)
            raise self._engine.failed(str(error)) from error
        if result.has_error():
            drain(self._chdb)
            raise self._engine.failed(result.error_message())
        return result

    def stream(self, sql: str, result_format: str) -> Generator[Any]:
        """The parts of a SELECT's result while it is computed. Closing the iterator cancels the query."""
        stream = None
        try:
            stream = self._chdb.send_query(encoded(sql), result_format)
            while True:
                part = self._chdb.streaming_fetch_result(stream)
                if part.has_error():
                    raise RuntimeError(part.error_message())  # noqa: TRY301 - handled as what chDB raises
                if not part.size():
                    stream = None
                    return
                yield part
        except RuntimeError as error:
            stream = None
            drain(self._chdb)
            raise self._engine.failed(str(error)) from error
        finally:
            if stream is not None:
                with contextlib.suppress(RuntimeError):
                    self._chdb.streaming_cancel_query(stream)
                drain(self._chdb)

    def classify(self, sql: str) -> dict[str, object]:
        """Classify a statement by the engine's own parser."""
        try:
            classified: dict[str, object] = self._chdb.classify_query(encoded(sql))
        except RuntimeError as error:
            raise from_engine(str(error)) from error
        return classified
