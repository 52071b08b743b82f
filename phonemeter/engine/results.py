"""Results in pieces, in any format, and never whole in memory.

chDB returns a result whole or block by block; the latter suits FORMAT Native only, because in most other
formats every piece is a document of its own. So in those chDB writes the document into a pipe, by INTO
OUTFILE. The pipe is always read to its end, because a failed write means a full disk to the engine.
"""

import contextlib
import os
import re
import select
import threading
import time
from collections.abc import Generator
from typing import Final

from phonemeter.engine.blocks import BLOCK_INFO, PLAIN, Layout, change_layout
from phonemeter.engine.chdb_engine import QueryStatistics
from phonemeter.engine.errors import CANNOT_SCHEDULE, EngineError
from phonemeter.engine.session import Session
from phonemeter.engine.statements import Statement

READ_BYTES: Final = 1 << 18
KILL_AGAIN_S: Final = 0.3
HELD: Final = re.compile(
    r"JSON(Compact)?Columns(WithMetadata)?|ProtobufList|Npy|Pretty\w*MonoBlock", re.IGNORECASE
)
"""Formats whose beginning depends on the end of the result: the engine holds the result until then."""

Pieces = Generator[bytes, None, QueryStatistics]


def result_pieces(
    session: Session, statement: Statement, result_format: str, layout: Layout, *, is_read_only: bool
) -> Pieces:
    """The result of a checked statement. Closing the iterator cancels the query.

    `layout` is that of the blocks in FORMAT Native; the engine classifies statements as read-only.
    """
    if statement.streams and result_format == "Native":
        return _blocks(session, statement, layout)
    # SHOW would write nothing into a file: the engine runs another statement instead.
    if statement.streams and is_read_only and _parses(session, _into(statement, "a file", result_format)):
        return _piped(session, statement, result_format)
    return _at_once(session, statement, result_format, layout)


def _at_once(session: Session, statement: Statement, result_format: str, layout: Layout) -> Pieces:
    """Run a statement with a small result, or none."""
    data, statistics = session.run(statement, result_format)
    yield data if layout == PLAIN else change_layout(data, layout)
    return statistics


def _blocks(session: Session, statement: Statement, layout: Layout) -> Pieces:
    rows = 0
    with contextlib.closing(session.stream(statement, "Native")) as chunks:
        for chunk in chunks:
            rows += chunk.rows
            yield _with_layout(chunk.data, layout)
    return session.statistics._replace(result_rows=rows)


def _with_layout(block: bytes, layout: Layout) -> bytes:
    """A block in another layout; it is walked only for column flags, which lie within it."""
    if layout.flags:
        return change_layout(block, layout)
    return BLOCK_INFO + block if layout.info else block


def _piped(session: Session, statement: Statement, result_format: str) -> Pieces:
    reading, writing = os.pipe()
    outcome = list[QueryStatistics | Exception]()

    def write() -> None:
        try:
            outcome.append(session.write(_into(statement, f"/proc/self/fd/{writing}", result_format)))
        except Exception as error:  # noqa: BLE001 - raised where the result is read
            outcome.append(error)
        finally:
            os.close(writing)

    writer = threading.Thread(target=write, name="result", daemon=True)
    try:
        writer.start()
    except RuntimeError as error:
        os.close(writing)
        os.close(reading)
        raise EngineError(CANNOT_SCHEDULE, "No thread can be started for this query.") from error
    try:
        while part := os.read(reading, READ_BYTES):
            yield part
    finally:
        _drain(reading, session)
        writer.join()
        os.close(reading)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _drain(reading: int, session: Session) -> None:
    """Read a pipe to its end, and kill the query that writes to it."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    killed_at_s = -KILL_AGAIN_S
    while True:
        if poll.poll(KILL_AGAIN_S * 1_000) and not os.read(reading, READ_BYTES):
            return
        if time.monotonic() - killed_at_s >= KILL_AGAIN_S:
            killed_at_s = time.monotonic()
            session.engine.kill(session.tag)


def _into(statement: Statement, path: str, result_format: str) -> str:
    """The statement with its result written to `path`."""
    where = f"INTO OUTFILE '{path}' APPEND COMPRESSION 'none' FORMAT {result_format}"
    return f"{statement.text}\n{where}"


def _parses(session: Session, sql: str) -> bool:
    return session.classify(sql).get("statement_count") == 1
