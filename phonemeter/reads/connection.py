"""A connection to ClickHouse for reads over HTTP: read-only, with limits on time and bytes."""

from collections.abc import Mapping
from math import ceil
from typing import Any, Final

from clickhouse_driver.errors import Error, ErrorCodes, SocketTimeoutError

from dashboards.http.errors import LedgerAwayError, TooLongError, TooMuchError
from sinks.connection import FAILURES, connect, place_of, sentence

RESULT_BYTES_MAX: Final = 16 << 20
MEMORY_BYTES_MAX: Final = 1 << 30
SPARE_S: Final = 1.0
"""Time for ClickHouse to say that a query took too long, before the connection is given up."""

_TOO_LONG: Final = frozenset({ErrorCodes.TIMEOUT_EXCEEDED, ErrorCodes.TOO_SLOW})
_TOO_MUCH: Final = frozenset(
    {
        ErrorCodes.TOO_MANY_BYTES,
        ErrorCodes.TOO_MANY_ROWS_OR_BYTES,
        ErrorCodes.MEMORY_LIMIT_EXCEEDED,
    }
)


class ReadOnlyConnection:
    """A connection that only reads.

    Args:
        url: of the database.
        answer_s: the longest that a query may be given.

    Raises:
        LedgerAwayError: a file that the URL names cannot be used.
    """

    def __init__(self, url: str, answer_s: float) -> None:
        self._where = f"ClickHouse at {place_of(url)}"
        try:
            self._client = connect(url, reply_timeout_s=answer_s + SPARE_S)
        except FAILURES as error:
            raise LedgerAwayError(f"{self._where} does not answer a read ({sentence(error)}).") from error

    def rows(
        self, query: str, parameters: Mapping[str, object] | None, within_s: float
    ) -> list[tuple[Any, ...]]:
        """The rows of a query.

        Raises:
            LedgerAwayError: there is no answer.
            TooLongError: it takes longer than `within_s`.
            TooMuchError: the result is larger than its limit.
        """
        limits = {
            # Settings stay changeable, without which no limit could be sent; 2 is also what the account has.
            "readonly": 2,
            "max_execution_time": ceil(within_s),
            "max_result_bytes": RESULT_BYTES_MAX,
            "max_memory_usage": MEMORY_BYTES_MAX,
        }
        try:
            return self._execute(query, parameters, limits)
        except SocketTimeoutError:
            raise TooLongError from None
        except FAILURES as error:
            code = error.code if isinstance(error, Error) else None
            if code in _TOO_LONG:
                raise TooLongError from None
            if code in _TOO_MUCH:
                raise TooMuchError from None
            raise LedgerAwayError(f"{self._where} does not answer a read ({sentence(error)}).") from error

    def close(self) -> None:
        """Close it."""
        self._client.disconnect()

    def _execute(
        self, query: str, parameters: Mapping[str, object] | None, limits: Mapping[str, object]
    ) -> list[tuple[Any, ...]]:
        given = None if parameters is None else dict(parameters)
        found: list[tuple[Any, ...]] = self._client.execute(query, given, settings=dict(limits))
        return found
