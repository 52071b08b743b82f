"""An exchange with somebody else's server: in time, without redirects, of an answer of bounded size."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiohttp

PIECE_BYTES: Final = 65_536


class NoAnswerError(Exception):
    """A server did not answer. The message is a sentence with the name of the server, not its address."""


class Exchanged(NamedTuple):
    """An answer; `content` is longer than was allowed if the server would have sent more."""

    status: int
    headers: Mapping[str, str]
    content: bytes


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    host: str,
    timeout_s: float,
    bytes_max: int,
    **options: Any,  # noqa: ANN401 - options of aiohttp
) -> Exchanged:
    """Send a request, and read its answer up to just beyond `bytes_max`; `host` is the server's name.

    Raises:
        NoAnswerError: no answer, or none in time.
    """
    try:
        async with (
            asyncio.timeout(timeout_s),
            session.request(method, url, allow_redirects=False, **options) as response,
        ):
            content = await response.content.read(bytes_max + 1)
            while len(content) <= bytes_max and (more := await response.content.read(PIECE_BYTES)):
                content += more
    except TimeoutError:
        raise NoAnswerError(f"{host} did not answer within {timeout_s:g} s.") from None
    except aiohttp.ClientConnectorError as error:
        raise NoAnswerError(f"{host} can't be reached ({error.os_error.strerror or 'refused'}).") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The message of some of them repeats the address, which may have a token.
        raise NoAnswerError(f"The exchange with {host} failed ({type(error).__name__}).") from None
    return Exchanged(response.status, response.headers, content)
