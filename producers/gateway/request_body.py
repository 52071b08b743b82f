"""The body of a request: within a time, within a size, and unpacked within the same size."""

import asyncio
import zlib
from typing import Final

from starlette.requests import Request

from http_service.http_connection import CLOSE
from producers.gateway.problems import RequestProblem

BODY_BYTES_MAX: Final = 1_048_576
DRAINED_BYTES_MAX: Final = 8 * BODY_BYTES_MAX
"""Bytes that are read of a body that is too large, so that its sender gets to read the answer."""

MEMBERS_MAX: Final = 16
"""Members of a gzip file: each costs a pass over what follows it."""

GZIP: Final = 16 + zlib.MAX_WBITS


async def read_body(request: Request, within_s: float) -> bytes:
    """The body, unpacked if it is compressed.

    Raises:
        RequestProblem: it is too large or too slow, or packed in another way than it says.
        ClientDisconnect: the client has gone.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise RequestProblem("media_type", "The content encoding is not read; send gzip, or none.", CLOSE)
    try:
        async with asyncio.timeout(within_s):
            body = await _received(request)
    except TimeoutError:
        raise RequestProblem(
            "too_slow", f"The body did not arrive within {within_s:g} s; nothing was taken.", CLOSE
        ) from None
    return _unpacked(body) if encoding == "gzip" else body


async def _received(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_BYTES_MAX:
            chunks.append(chunk)
        else:
            chunks.clear()
        if size > DRAINED_BYTES_MAX:
            break
    if size > BODY_BYTES_MAX:
        raise _too_large(CLOSE)
    return b"".join(chunks)


def _unpacked(body: bytes) -> bytes:
    """The content of one or several gzip members, never more of it than the limit."""
    parts: list[bytes] = []
    left = BODY_BYTES_MAX
    for _ in range(MEMBERS_MAX):
        member = zlib.decompressobj(GZIP)
        try:
            part = member.decompress(body, left + 1)
        except zlib.error:
            raise _broken() from None
        left -= len(part)
        if left < 0:
            raise _too_large({})
        if not member.eof:
            raise _broken()
        parts.append(part)
        body = member.unused_data
        if not body:
            return b"".join(parts)
    raise _broken()


def _too_large(headers: dict[str, str]) -> RequestProblem:
    return RequestProblem(
        "too_large", f"A request has at most {BODY_BYTES_MAX:,} bytes, unpacked; send several.", headers
    )


def _broken() -> RequestProblem:
    return RequestProblem(
        "malformed", "The body is not gzip, or only a part of it, as Content-Encoding says it is."
    )
