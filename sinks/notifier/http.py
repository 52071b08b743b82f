"""One POST request with limits: of its duration, of the answer's size, and without redirects."""

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from metering.times import SECOND_MS, to_ms

ANSWER_BYTES_MAX: Final = 16_384
"""Bytes that are read of an answer at most."""

USER_AGENT: Final = "phonemeter-notifier"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Answer(NamedTuple):
    """A receiver's answer; `text` is the beginning of its body."""

    status: int
    text: str
    retry_after: str


class UnreachableError(Exception):
    """A request without an answer; the message contains no secret."""


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
    """Send a body and return the answer, whatever its status.

    Raises:
        UnreachableError: no answer within the time.
    """
    return asyncio.run(_post(url, body, headers, timeout_s))


async def _post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
    try:
        async with (
            asyncio.timeout(timeout_s),
            # The machine's proxy is for other hosts.
            aiohttp.ClientSession(trust_env=not is_loopback(url)) as session,
            session.post(
                url,
                data=body,
                headers={"user-agent": USER_AGENT, "content-type": "application/json", **headers},
                allow_redirects=False,
            ) as response,
        ):
            text = await _beginning(response)
            return Answer(response.status, text, response.headers.get("retry-after", ""))
    except TimeoutError:
        raise UnreachableError(f"no answer within {timeout_s:g} s") from None
    except aiohttp.ClientConnectorError as error:
        raise UnreachableError(f"no connection: {error.os_error.strerror or 'refused'}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The message of some of them repeats the URL.
        raise UnreachableError(f"the exchange failed: {type(error).__name__}") from None


async def _beginning(response: aiohttp.ClientResponse) -> str:
    read = b""
    async for chunk in response.content.iter_chunked(ANSWER_BYTES_MAX):
        read += chunk
        if len(read) >= ANSWER_BYTES_MAX:
            break
    return read[:ANSWER_BYTES_MAX].decode(errors="replace")


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine."""
    return urlsplit(url).hostname in LOOPBACK


def retry_after_ms(text: str, now_ms: int) -> int | None:
    """The pause that a Retry-After header asks for, in seconds or as a date; None if it has neither."""
    if text.isascii() and text.isdigit():
        return int(text[:9]) * SECOND_MS
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0, to_ms(moment) - now_ms) if moment.tzinfo else None
