"""An HTTP request for a query: its account, statement, settings and data."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Final
from urllib.parse import parse_qsl

from phonemeter.engine import frames
from phonemeter.engine.blocks import PLAIN, Layout
from phonemeter.engine.chdb_engine import check_password
from phonemeter.engine.config import MAX_HELD_RESULT_BYTES, MAX_QUERY_BYTES
from phonemeter.engine.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    SYNTAX,
    TOO_MANY_BYTES,
    UNKNOWN_FORMAT,
    EngineError,
)
from phonemeter.engine.http_sessions import number_parameter
from phonemeter.engine.results import HELD
from phonemeter.engine.spool import Spool
from phonemeter.engine.statements import HEAD_CHARACTERS, Statement

NOT_SETTINGS: Final = frozenset({
    "query", "user", "password", "database", "default_format", "session_id", "session_timeout",
    "session_check", "close_session", "query_id", "compress", "decompress", "quota_key", "role",
    "stacktrace", "readonly",
    "wait_end_of_query", "buffer_size", "client_protocol_version",
})  # fmt: skip
FORMAT_NAME: Final = re.compile(r"\w{1,100}", re.ASCII)
WITH_BLOCK_INFO: Final = 51_903
WITH_COLUMN_FLAGS: Final = 54_454


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was read and authenticated."""

    params: dict[str, str]
    statement: Statement
    body: Spool
    in_url: bytes
    """The part of the query in the URL, and the line break after it."""
    database: str
    result_format: str
    layout: Layout

    @property
    def waits_for_end(self) -> bool:
        """True if the client wants the result only when it is complete."""
        return self.params.get("wait_end_of_query") == "1"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the query."""
        settings = {name: value for name, value in self.params.items() if name not in NOT_SETTINGS}
        if HELD.fullmatch(self.result_format):
            settings.setdefault("max_memory_usage", str(MAX_HELD_RESULT_BYTES))
        return settings

    @property
    def pack(self) -> Callable[[bytes], bytes]:
        """The compression of the result: ClickHouse's own if the client wants it, or none."""
        return frames.pack if self.params.get("compress") == "1" else bytes

    def fill(self, spool: Spool) -> None:
        """Write the data of an INSERT: all that follows the statement, in the URL and in the body."""
        skip = len(self.statement.head.encode("utf-8", "surrogateescape")) - len(self.in_url)
        if skip < 0:
            spool.write(self.in_url[skip:])
        for part in self.body.parts(max(skip, 0)):
            spool.write(part)


def parse_parameters(query: str) -> dict[str, str]:
    """The parameters of a URL as the base class read it; bytes that are not UTF-8 are kept."""
    text = query.encode("latin-1").decode("utf-8", "surrogateescape")
    return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))


def authenticate(headers: Message, params: Mapping[str, str], expected: str) -> None:
    """Raise EngineError 516 unless user and password are right, in headers or parameters."""
    user = headers.get("X-ClickHouse-User") or params.get("user", "")
    password = headers.get("X-ClickHouse-Key") or params.get("password", "")
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError as error:
            raise EngineError(AUTHENTICATION_FAILED, "The Authorization header cannot be read.") from error
    check_password(user, password, expected)


def parse_request(
    path: str, headers: Message, params: dict[str, str], body: Spool, read: Callable[[str], Statement]
) -> Request:
    """Parse a request whose body has been read."""
    if path != "/":
        raise EngineError(SYNTAX, f"There is no handle {path[:100]}: send queries to / and probes to /ping.")
    if params.get("role"):
        raise EngineError(ACCESS_DENIED, "There are no roles here: leave the parameter role out.")
    in_url = params.get("query", "").encode("utf-8", "surrogateescape")
    if in_url and body.size_bytes:
        in_url += b"\n"
    text = (in_url + body.read(MAX_QUERY_BYTES)).decode("utf-8", "surrogateescape")
    if body.size_bytes > MAX_QUERY_BYTES:
        # Parsing a text of this length takes long; only an INSERT may be longer, because of its data.
        try:
            statement = read(text[:HEAD_CHARACTERS])
        except EngineError as error:
            raise _too_long() from error
    else:
        statement = read(text)
    _check(statement, body)
    result_format = statement.format or headers.get("X-ClickHouse-Format") or params.get("default_format")
    if result_format and not FORMAT_NAME.fullmatch(result_format):
        raise EngineError(UNKNOWN_FORMAT, f"Unknown format {result_format[:100]!r}.")
    return Request(
        params=params,
        statement=statement,
        body=body,
        in_url=in_url,
        database=params.get("database") or headers.get("X-ClickHouse-Database") or "",
        result_format=result_format or "TabSeparated",
        layout=_layout(params) if result_format == "Native" else PLAIN,
    )


def _too_long() -> EngineError:
    return EngineError(TOO_MANY_BYTES, f"The query has more than {MAX_QUERY_BYTES} bytes.")


def _check(statement: Statement, body: Spool) -> None:
    if statement.insert is None and body.size_bytes > MAX_QUERY_BYTES:
        raise _too_long()
    if statement.into_outfile:
        raise EngineError(
            ACCESS_DENIED, "INTO OUTFILE would write on the engine's machine: save the response instead."
        )


def _layout(params: Mapping[str, str]) -> Layout:
    """The layout of result blocks for the client's revision; the blocks that it sends are plain."""
    revision = number_parameter(params, "client_protocol_version", 0)
    return Layout(info=revision >= WITH_BLOCK_INFO, flags=revision >= WITH_COLUMN_FLAGS)
