"""Connections to ClickHouse over its native protocol, made from the URL of the settings."""

from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error
from clickhouse_driver.util.helpers import parse_url

CONNECT_TIMEOUT_S: Final = 2.0
REPLY_TIMEOUT_S: Final = 30.0
"""How long an INSERT may take to be acknowledged. It is tried again then, after waiting for its end."""

FAILURES: Final = (Error, OSError, EOFError)
"""What the driver raises when the server refuses, goes away or speaks nonsense."""


def connect(
    url: str,
    kind: type[Client] = Client,
    *,
    database: str | None = None,
    reply_timeout_s: float = REPLY_TIMEOUT_S,
) -> Client:
    """A client for the database that the URL names, or for another one there. It connects when first used."""
    host, options = parse_url(url)
    options.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    options.setdefault("send_receive_timeout", reply_timeout_s)
    options.setdefault("sync_request_timeout", CONNECT_TIMEOUT_S)
    options.setdefault("client_name", "phonemeter")
    if database is not None:
        options["database"] = database
    return kind(host, **options)


def database_of(url: str) -> str:
    """The name of the database in the URL."""
    _, options = parse_url(url)
    return str(options["database"])


def sentence(error: BaseException) -> str:
    """The first line of a driver's error, without the server's stack trace."""
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    return text.split("Stack trace:")[0].strip().splitlines()[0]


def rows(client: Client, query: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    result: list[tuple[Any, ...]] = client.execute(query, parameters)
    return result
