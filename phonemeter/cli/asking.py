"""Asking ClickHouse on behalf of a command: whatever goes wrong is told in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes

from phonemeter.errors import OperationError
from sinks.connection import FAILURES, connect, sentence

REPLY_TIMEOUT_S: Final = 20.0
NOT_SET_UP: Final = frozenset({ErrorCodes.UNKNOWN_TABLE, ErrorCodes.UNKNOWN_DATABASE})


@contextmanager
def asking(url: str) -> Iterator[Client]:
    """A connection to the ClickHouse at `url`, for as long as a command asks it.

    Raises:
        OperationError: ClickHouse does not answer, or it has no ledger yet.
    """
    try:
        with connect(url, reply_timeout_s=REPLY_TIMEOUT_S) as client:
            yield client
    except FAILURES as error:
        place = urlsplit(url)
        where = f"ClickHouse at {place.hostname}:{place.port or 9000}"
        if isinstance(error, Error) and error.code in NOT_SET_UP:
            raise OperationError(
                f"{where} has no ledger yet: start the sink, which makes it (phonemeter up)."
            ) from error
        raise OperationError(
            f"{where} does not answer as it should ({sentence(error)}): start it (phonemeter up), or set "
            f"PHONEMETER_CLICKHOUSE."
        ) from error
