"""Answers that the connection writes itself, without a task, because they wait for nothing."""

from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

DirectAnswer = Callable[[Scope], Response | None]
"""Returns the answer to a request, or None if it goes the usual way. It raises nothing."""

BODY: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})


def has_body(scope: Scope) -> bool:
    """Return true if a request may have a body."""
    return any(name in BODY for name, _ in scope["headers"])


def write_answer(answer: Response, cycle: RequestResponseCycle) -> None:
    """Write an answer, and end uvicorn's cycle of the request as its own way of sending does."""
    head = [STATUS_LINE[answer.status_code]]
    for name, value in (*cycle.default_headers, *answer.raw_headers):
        head += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        head.append(b"connection: close\r\n")
    head += (b"\r\n", bytes(answer.body))
    cycle.transport.write(b"".join(head))
    cycle.response_started = cycle.response_complete = True
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
