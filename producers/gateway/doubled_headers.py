"""The refusal of a request in which a header stands twice that has one meaning only."""

from typing import Final

from starlette.requests import Request

from producers.gateway.problems import RequestProblem

SINGLE: Final = frozenset(
    {b"authorization", b"content-encoding", b"content-type", b"host", b"idempotency-key"}
)


def refuse_doubled_headers(request: Request) -> None:
    """Refuse a request that a proxy in front may have read otherwise.

    Raises:
        RequestProblem: a header stands twice.
    """
    seen: set[bytes] = set()
    for name, _ in request.scope["headers"]:
        if name in SINGLE:
            if name in seen:
                raise RequestProblem("malformed", f"The header {name.decode()} stands twice; send one.")
            seen.add(name)
