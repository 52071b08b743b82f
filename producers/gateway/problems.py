"""Answers to requests that fail: problem details (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

from starlette.responses import Response

from http_service.problem_document import problem_document

ProblemName = Literal[
    "malformed",
    "key_missing",
    "key_invalid",
    "scope_missing",
    "not_found",
    "method_not_allowed",
    "too_slow",
    "repeat_under_way",
    "conflict",
    "too_large",
    "media_type",
    "events_refused",
    "repeat_differs",
    "rate_limit",
    "failed",
    "unavailable",
    "unconfirmed",
]

STATUSES: Final[Mapping[ProblemName, tuple[int, str]]] = {
    "malformed": (400, "The request can't be read"),
    "key_missing": (401, "An API key is needed"),
    "key_invalid": (401, "The API key is not valid"),
    "scope_missing": (403, "The API key may not do this"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "too_slow": (408, "The request took too long to arrive"),
    "repeat_under_way": (409, "The first request with this Idempotency-Key is under way"),
    "conflict": (409, "The request does not fit what there is now"),
    "too_large": (413, "The request is too large"),
    "media_type": (415, "The content type or encoding is not read"),
    "events_refused": (422, "Some events were refused"),
    "repeat_differs": (422, "The Idempotency-Key belongs to another request"),
    "rate_limit": (429, "The API key has reached its limit"),
    "failed": (500, "The gateway failed"),
    "unavailable": (503, "This can't be done now"),
    "unconfirmed": (503, "Some events were not confirmed"),
}
"""By name, the status and the title."""


class RequestProblem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer that is a problem.

    Args:
        name: which one.
        detail: one sentence: what is wrong, and what to do.
        headers: more headers of the answer.
        more: more members of the body.
    """

    def __init__(
        self,
        name: ProblemName,
        detail: str,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.name: ProblemName = name
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more or {}

    @property
    def status(self) -> int:
        """The status of the answer."""
        return STATUSES[self.name][0]

    def response(self) -> Response:
        """The answer."""
        status, title = STATUSES[self.name]
        return problem_document(self.name, status, title, self.detail, self.headers, self.more)


OF_STATUS: Final[Mapping[int, tuple[ProblemName, str]]] = {
    HTTPStatus.BAD_REQUEST: ("malformed", "The request can't be read."),
    HTTPStatus.NOT_FOUND: (
        "not_found",
        "Events go to POST /v1/events; /v1/docs describes the interface.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "Use the methods in the header Allow."),
    HTTPStatus.CONFLICT: ("conflict", "Look at what there is now, and decide again."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too_large", "Send less at once."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("media_type", "Send JSON."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("unavailable", "Try again."),
}
"""By status, the problem and its sentence where none is given."""


def of_status(status: int, detail: str = "") -> RequestProblem:
    """The problem for a status that a handler or the framework gave, with the sentence it gave."""
    name, usual = OF_STATUS.get(status, OF_STATUS[HTTPStatus.BAD_REQUEST])
    # The framework's own text is the name of the status.
    given = detail if detail and detail != HTTPStatus(status).phrase else usual
    return RequestProblem(name, given)
