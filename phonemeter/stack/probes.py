"""Probes of services on loopback: listening, answering, working."""

import asyncio
import contextlib
import http.client
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from confluent_kafka import KafkaException

from kafka_access.access import KafkaAccess
from sinks.connection import FAILURES, connect, rows
from streams.admin_client import admin_client

HOST = "127.0.0.1"
TIMEOUT_S = 2.0
QUERY: Final = "SELECT 1"

Probe = Callable[[], Awaitable[bool]]
"""Returns whether the service is ready now. Does not raise if it is not."""


async def listens(port: int) -> bool:
    """Return whether something accepts connections on the port."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(HOST, port), TIMEOUT_S)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def http_get(port: int, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> tuple[int, str]:
    """GET a small page: its status and text. Blocking.

    Raises:
        OSError: nothing answers.
        http.client.HTTPException: what answers is not HTTP.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read(65_536).decode(errors="replace")
    finally:
        connection.close()


async def answers(port: int, path: str, *, body: str = "") -> bool:
    """Return whether GET `path` answers 200, with a text that starts with `body`."""
    try:
        status, text = await asyncio.to_thread(http_get, port, path)
    except (OSError, http.client.HTTPException):
        return False
    return status == http.client.OK and text.startswith(body)


async def answers_metadata(kafka: KafkaAccess) -> bool:
    """Return whether a Kafka answers a request for its brokers."""
    return await asyncio.to_thread(_tells_metadata, kafka)


def _tells_metadata(kafka: KafkaAccess) -> bool:
    try:
        return bool(admin_client(kafka, "phonemeter-stack").list_topics(timeout=TIMEOUT_S).brokers)
    except KafkaException:
        return False


async def answers_queries(url: str, http_port: int) -> bool:
    """Return whether the ClickHouse at a native URL, with its account, answers over both of its protocols."""
    return await asyncio.to_thread(_answers_natively, url) and await asyncio.to_thread(
        _answers_over_http, url, http_port
    )


def _answers_natively(url: str) -> bool:
    try:
        # The ledger's database is made later, by the sink.
        with connect(url, database="default", reply_timeout_s=TIMEOUT_S) as client:
            return rows(client, QUERY) == [(1,)]
    except FAILURES:
        return False


def _answers_over_http(url: str, port: int) -> bool:
    account = urlsplit(url)
    headers = {
        "X-ClickHouse-User": account.username or "default",
        "X-ClickHouse-Key": unquote(account.password or ""),
    }
    try:
        status, text = http_get(port, f"/?query={quote(QUERY)}", headers)
    except (OSError, http.client.HTTPException):
        return False
    return status == http.client.OK and text == "1\n"
