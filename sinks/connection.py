"""Connections to ClickHouse over its native protocol."""

import re
from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes

from sinks.clickhouse_address import ClickHouseAddress
from sinks.cluster import CONSISTENT, Cluster

CONNECT_TIMEOUT_S: Final = 2.0
REPLY_TIMEOUT_S: Final = 30.0
"""Time that an INSERT may take to be acknowledged. After that, its end is awaited and it is tried again."""

FAILURES: Final = (Error, OSError, EOFError)
"""Errors that the driver raises when the server refuses, goes away or sends what cannot be decoded."""


_NAME: Final = (
    "its certificate is for another host name: use the name in it, or set server_hostname in the URL"
)

_AUTHORITY: Final = (
    "its certificate is from an authority that is not trusted: name its file in the URL (ca_certs)"
)

_BROKEN_OFF: Final = (
    "it broke the connection off; if it does that every time, check whether its port has TLS (clickhouses:// "
    "in the URL) and wants a client's certificate (certfile, keyfile)"
)

_IN_WORDS: Final = (
    ("Hostname mismatch", _NAME),
    ("IP address mismatch", _NAME),
    ("certificate has expired", "its certificate has expired: renew it"),
    ("CERTIFICATE_VERIFY_FAILED", _AUTHORITY),
    ("CERTIFICATE_REQUIRED", "it wants a client's certificate: name one in the URL (certfile, keyfile)"),
    ("UNKNOWN_CA", "it does not trust the client's certificate (certfile in the URL)"),
    ("WRONG_VERSION_NUMBER", "this port has no TLS: use the port with TLS, or clickhouse:// in the URL"),
    ("got Unknown packet", "this port has TLS: use clickhouses:// in the URL, or the port without TLS"),
    ("Connection reset by peer", _BROKEN_OFF),
    ("EOF occurred in violation of protocol", _BROKEN_OFF),
)
"""Errors of TLS by what their text has, and what to do, in words."""

_WHERE: Final = re.compile(r"\([^()\s]+:\d+\)$")

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
    consistent: bool = False,
) -> Client:
    """Create a client for the database in the URL, or for another one there. It connects when first used.

    A `consistent` one reads on a cluster what was acknowledged to anybody, or fails for a moment.

    Raises:
        AddressError: a file that the URL names cannot be used.
    """
    address = ClickHouseAddress.of(url)
    options = address.client_options()
    options.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    options.setdefault("send_receive_timeout", reply_timeout_s)
    options.setdefault("sync_request_timeout", CONNECT_TIMEOUT_S)
    options.setdefault("client_name", "phonemeter")
    if consistent and address.cluster is not None:
        options["settings"] = {**options["settings"], **CONSISTENT}
    if database is not None:
        options["database"] = database
    return kind(address.host, **options)


def database_of(url: str) -> str:
    """Name of the database in the URL."""
    return ClickHouseAddress.of(url).database


def cluster_of(url: str) -> Cluster | None:
    """The cluster that has the database; None where one server has it."""
    return ClickHouseAddress.of(url).cluster


def place_of(url: str) -> str:
    """Host and port in the URL, for messages."""
    return ClickHouseAddress.of(url).place


def sentence(error: BaseException) -> str:
    """First line of an error's message, without the server's stack trace; in words for what TLS may lack."""
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    line = text.split("Stack trace:")[0].strip().splitlines()[0]
    for sign, words in _IN_WORDS:
        if sign in line:
            where = _WHERE.search(line)
            return f"{words} {where[0]}" if where else words
    return line


def rows(client: Client, query: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
    """Rows of a query's result."""
    result: list[tuple[Any, ...]] = client.execute(query, parameters)
    return result
