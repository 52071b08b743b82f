"""Problem details (RFC 9457): the form of an answer to a request that fails."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:phonemeter:problem:"

_encoder = msgspec.json.Encoder()


def problem_document(
    name: str,
    status: int,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """The answer that is a problem; `more` has further members of its body."""
    body = {
        "type": f"{TYPE_PREFIX}{name}",
        "title": title,
        "status": status,
        "detail": detail,
        **(more or {}),
    }
    return Response(_encoder.encode(body), status, dict(headers or {}), MEDIA_TYPE)
