"""Preferences that a browser remembers of its reader: language, and light or dark."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from starlette.responses import Response

from dashboards.console.languages import LANGUAGES
from dashboards.console.page_guard import ConsolePage
from dashboards.console.visit import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, Visit, local_path

KEPT_S: Final = 365 * 86_400


def preference_pages(*, over_tls: bool) -> Sequence[ConsolePage]:
    """The targets of the switches of language and theme."""
    return [ConsolePage("/preferences", partial(_choose, over_tls=over_tls), None, "POST")]


async def _choose(visit: Visit, *, over_tls: bool) -> Response:
    answer = visit.redirect(local_path(visit.value("next")))
    for name, known in ((LANGUAGE_COOKIE, tuple(LANGUAGES)), (THEME_COOKIE, THEMES)):
        chosen = visit.value(name)
        if chosen in known:
            answer.set_cookie(name, chosen, KEPT_S, secure=over_tls, httponly=True, samesite="lax")
    return answer
