"""The body of an HTTP request: with a length or in chunks, plain or compressed, always within limits."""

import zlib
from collections.abc import Iterator, Mapping
from email.message import Message
from io import BufferedIOBase
from typing import Any, Final

import lz4.frame  # type: ignore[import-untyped] # ships no types

from phonemeter.engine import frames
from phonemeter.engine.config import MAX_INSERT_BYTES
from phonemeter.engine.errors import (
    CANNOT_DECOMPRESS,
    INCORRECT_DATA,
    NOT_IMPLEMENTED,
    TOO_MANY_BYTES,
    EngineError,
)
from phonemeter.engine.wire_values import Cursor, EndOfInputError

READ_BYTES: Final = 1 << 20
MAX_CHUNK_LINE_BYTES: Final = 256
GZIP_WINDOW: Final = zlib.MAX_WBITS | 16


def body_parts(source: BufferedIOBase, headers: Message, params: Mapping[str, str]) -> Iterator[bytes]:
    """The body, decompressed, in pieces. After an EngineError the connection must end: the rest is unread."""
    try:
        yield from _unpacked(_raw(source, headers), headers, params)
    except EndOfInputError as error:
        raise EngineError(INCORRECT_DATA, "The request's body ended too early.") from error


def _unpacked(raw: Iterator[bytes], headers: Message, params: Mapping[str, str]) -> Iterator[bytes]:
    if headers.get_content_type() == "multipart/form-data":
        raise EngineError(
            NOT_IMPLEMENTED, "Multipart forms and external tables are not served here: send the query itself."
        )
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if params.get("decompress") == "1":
        cursor = Cursor(lambda: next(raw, b""))
        while cursor.ahead():
            yield frames.unpack(cursor.take)
    elif encoding in {"", "identity"}:
        yield from raw
    elif encoding == "gzip":
        yield from _inflated(raw, zlib.decompressobj(GZIP_WINDOW), zlib.error)
    elif encoding == "lz4":
        yield from _inflated(raw, lz4.frame.LZ4FrameDecompressor(), RuntimeError)
    else:
        raise EngineError(
            CANNOT_DECOMPRESS, f"Content-Encoding {encoding[:50]} is not served: use gzip, lz4 or none."
        )


def _raw(source: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    if headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
        while size := _chunk_size(source):
            yield from _exactly(source, size)
            source.readline(MAX_CHUNK_LINE_BYTES)
        while source.readline(MAX_CHUNK_LINE_BYTES).strip():
            pass
        return
    length = headers.get("Content-Length", "0")
    if not length.isdigit() or int(length) > MAX_INSERT_BYTES:
        raise EngineError(
            TOO_MANY_BYTES, f"Content-Length {length[:30]} is not a number of at most {MAX_INSERT_BYTES}."
        )
    yield from _exactly(source, int(length))


def _chunk_size(source: BufferedIOBase) -> int:
    size = source.readline(MAX_CHUNK_LINE_BYTES).partition(b";")[0].strip()
    try:
        return int(size, 16)
    except ValueError as error:
        raise EngineError(INCORRECT_DATA, "A chunk of the request's body has no size.") from error


def _exactly(source: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size > 0:
        part = source.read1(min(size, READ_BYTES))
        if not part:
            raise EndOfInputError
        size -= len(part)
        yield part


def _inflated(raw: Iterator[bytes], packed: Any, failure: type[Exception]) -> Iterator[bytes]:  # noqa: ANN401 - zlib's or lz4's
    """The decompressed body, in pieces of limited size."""
    try:
        for part in raw:
            pending: bytes | None = part
            while pending is not None and not packed.eof:
                yield packed.decompress(pending, READ_BYTES)
                pending = _unconsumed(packed)
    except failure as error:
        raise EngineError(CANNOT_DECOMPRESS, "The request's body cannot be unpacked.") from error
    if not packed.eof:
        raise EngineError(CANNOT_DECOMPRESS, "The request's packed body ended too early.")


def _unconsumed(packed: Any) -> bytes | None:  # noqa: ANN401 - zlib's or lz4's
    """The input for the next call, or None: zlib returns what it did not consume, lz4 keeps it."""
    if hasattr(packed, "unconsumed_tail"):
        return packed.unconsumed_tail or None
    return None if packed.needs_input else b""
