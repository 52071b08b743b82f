"""The guard of forms: a form counts only if it came from a page of the same session.

Two checks, as the OWASP cheat sheet on cross-site request forgery has them: what the browser says of where
the request came from, and a token that only the session's own pages have.
"""

import hmac
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from dashboards.console.problems import ConsoleProblem
from dashboards.console.sessions import form_token

FORM_BYTES_MAX: Final = 131_072
FIELDS_MAX: Final = 1_200
"""More than the apps that a key may be for."""

FIELD: Final = "form_token"
MEDIA_TYPE: Final = "application/x-www-form-urlencoded"

Form = dict[str, list[str]]


def own_origin(request: Request, origin: str) -> str:
    """The origin of the console: as it is set, or by what the browser calls the host."""
    return origin or f"http://{request.headers.get('host', '')}"


async def read_form(request: Request) -> Form:
    """The fields of a form.

    Raises:
        ConsoleProblem: it is too large, or none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise ConsoleProblem("form_refused")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise ConsoleProblem("too_large")
    form: Form = {}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise ConsoleProblem("form_refused") from None
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form


def refuse_other_sites(request: Request, origin: str) -> None:
    """Refuse a form that the browser says another site has sent, or of which it says nothing.

    Raises:
        ConsoleProblem: it is refused.
    """
    site = request.headers.get("sec-fetch-site")
    given = request.headers.get("origin")
    if site is None and given is None:
        raise ConsoleProblem("form_refused")
    if site not in {None, "same-origin"} or given not in {None, own_origin(request, origin)}:
        raise ConsoleProblem("form_refused")


def refuse_other_sessions(form: Form, session_token: str) -> None:
    """Refuse a form without the token of the session.

    Raises:
        ConsoleProblem: it is refused.
    """
    given = form.get(FIELD, [""])[0]
    if not hmac.compare_digest(given.encode(), form_token(session_token).encode()):
        raise ConsoleProblem("form_refused")
