"""The door of every request: its id, its line in the access log, and its count."""

import logging
import re
import secrets
import time
from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metering.personal_identifiers import find_identifier

HEADER_NAME: Final = "x-request-id"
HEADER: Final = HEADER_NAME.encode()
PATH_CHARACTERS_MAX: Final = 100
LINE: Final = "%(request_id)s %(method)s %(path)s %(status)d %(answer)s %(told)s ms=%(ms).1f"
_GIVEN: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")
_PATH: Final = re.compile(r"[0-9A-Za-z._/-]*")


class RequestRecords:
    """The records of requests: a line in the log, and a count.

    The log has no header, no query and no body: nothing of it is a secret, or a person's.

    Args:
        log: takes a line per request; None for no lines.
        requests: counts requests by the `answer` in their state, `ok` where there is none.
        told: what else of the state of a request its line tells.
    """

    def __init__(self, log: logging.Logger | None, requests: Counter, told: Sequence[str]) -> None:
        self._log = log
        self._requests = requests
        self._told = tuple(told)

    def begin(self, scope: Scope) -> str:
        """Give a request its id, and return it."""
        request_id = scope.setdefault("state", {})["request_id"] = _request_id(scope)
        return request_id

    def end(self, scope: Scope, status: int, began_s: float) -> None:
        """Record a request that was answered."""
        state = scope["state"]
        answer = state.get("answer", "ok")
        self._requests.labels(answer).inc()
        if self._log is not None:
            told = {name: state.get(name, "-") for name in self._told}
            fields = {
                "request_id": state["request_id"],
                "method": scope["method"],
                "path": _path(scope),
                "status": status,
                "answer": answer,
                "ms": round(1_000 * (time.monotonic() - began_s), 1),
            }
            words = " ".join(f"{name}={value}" for name, value in told.items())
            self._log.info(LINE, {**fields, "told": words}, extra={**fields, **told})


class RequestLog:
    """Middleware around the whole application, which gives each request its id and records it."""

    def __init__(self, application: ASGIApp, records: RequestRecords) -> None:
        self._application = application
        self._records = records

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began_s = time.monotonic()
        request_id = self._records.begin(scope)
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER_NAME] = request_id
            await send(message)

        try:
            await self._application(scope, receive, send_with_id)
        except Exception:
            scope["state"]["answer"] = "failed"
            raise
        finally:
            self._records.end(scope, status, began_s)


def _request_id(scope: Scope) -> str:
    """The id that the client gave, if it is one and not a person's; otherwise a new one."""
    given = next((value for name, value in scope["headers"] if name == HEADER), b"").decode("latin-1")
    if _GIVEN.fullmatch(given) and find_identifier(given) is None:
        return given
    return secrets.token_hex(8)


def _path(scope: Scope) -> str:
    path = str(scope["path"])[:PATH_CHARACTERS_MAX]
    return path if _PATH.fullmatch(path) and find_identifier(path) is None else "?"
