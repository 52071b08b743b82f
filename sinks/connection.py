"""Connections to ClickHouse over its native protocol."""

from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes
from clickhouse_driver.util.helpers import parse_url

CONNECT_TIMEOUT_S: Final = 2.0
REPLY_TIMEOUT_S: Final = 30.0
"""Time that an INSERT may take to be acknowledged. After that, its end is awaited and it is tried again."""

FAILURES: Final = (Error, OSError, EOFError)
"""Errors that the driver raises when the server refuses, goes away or sends what cannot be decoded."""


_MISSING: Final = frozenset({ErrorCodes.UNKNOWN_TABLE, ErrorCodes.UNKNOWN_DATABASE})


def is_missing(error: BaseException) -> bool:
    """Return whether an error says that there is no such table or database."""
    return isinstance(error, Error) and error.code in _MISSING


def connect(
    url: str,
    kind: type[Client] = Client,
    *,
    database: str | None = None,
    reply_timeout_s: float = REPLY_TIMEOUT_S,
) -> Client:
    """Create a client for the database in the URL, or for another one there. It connects when first used."""
    host, options = parse_url(url)
    options.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    options.setdefault("send_receive_timeout", reply_timeout_s)
    options.setdefault("sync_request_timeout", CONNECT_TIMEOUT_S)
    options.setdefault("client_name", "phonemeter")
    if database is not None:
        options["database"] = database
    return kind(host, **options)


def database_of(url: str) -> str:
    """Name of the database in the URL."""
    _, options = parse_url(url)
    return str(options["database"])


def sentence(error: BaseException) -> str:
    """First line of an error's message, without the server's stack trace."""
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    return text.split("Stack trace:")[0].strip().splitlines()[0]


def rows(client: Client, query: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
    """Rows of a query's result."""
    result: list[tuple[Any, ...]] = client.execute(query, parameters)
    return result
