"""Problems that a page tells in place of its content, in the language of its reader."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Literal, NamedTuple

from dashboards.console.languages import marked

ProblemName = Literal[
    "not_found", "method_not_allowed", "forbidden", "form_refused", "too_large", "unavailable", "failed"
]


class _Told(NamedTuple):
    status: HTTPStatus
    title: str
    advice: str


PROBLEMS: Final[Mapping[ProblemName, _Told]] = {
    "not_found": _Told(
        HTTPStatus.NOT_FOUND,
        marked("This page does not exist"),
        marked("It may be of an app of another owner. Begin again at the overview."),
    ),
    "method_not_allowed": _Told(
        HTTPStatus.METHOD_NOT_ALLOWED,
        marked("This can't be done here"),
        marked("Go back and use the buttons of the page."),
    ),
    "forbidden": _Told(
        HTTPStatus.FORBIDDEN,
        marked("Your role does not allow this"),
        marked("Ask a member in the role owner to do it, or to change your role."),
    ),
    "form_refused": _Told(
        HTTPStatus.FORBIDDEN,
        marked("The form was not accepted"),
        marked(
            "It did not come from a page of your session. Load the page again and send it once more. Behind "
            "a reverse proxy the setting console_origin must be the address that you see."
        ),
    ),
    "too_large": _Told(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        marked("The form is too large"),
        marked("Shorten what was entered."),
    ),
    "unavailable": _Told(
        HTTPStatus.SERVICE_UNAVAILABLE,
        marked("This can't be shown now"),
        marked("A database does not answer. Nothing was changed; try again in a minute."),
    ),
    "failed": _Told(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        marked("The console failed"),
        marked("Try again. If it stays, report the number of this request."),
    ),
}
"""By name, the status, the title and what to do."""


class ConsoleProblem(Exception):  # noqa: N818 - not an error of the program
    """An answer that is a problem."""

    def __init__(self, name: ProblemName) -> None:
        super().__init__(name)
        self.name: ProblemName = name


def problem_of(status: int) -> ProblemName:
    """The problem for a status that the framework gave."""
    return next((name for name, told in PROBLEMS.items() if told.status == status), "failed")
