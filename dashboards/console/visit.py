"""A visit: one request for a page, with all that its handler needs to answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboards.console.form_guard import FIELD, Form
from dashboards.console.languages import LANGUAGES, TAGS, WORDINGS, Language, Wording, chosen_language
from dashboards.console.members import SignedInMember
from dashboards.console.sessions import OpenSession, form_token
from dashboards.console.templating import rendered

Theme = Literal["auto", "light", "dark"]

THEMES: Final[tuple[Theme, ...]] = ("auto", "light", "dark")
LANGUAGE_COOKIE: Final = "language"
THEME_COOKIE: Final = "theme"
VALUE_CHARACTERS_MAX: Final = 1_000


class NavigationEntry(NamedTuple):
    """A page in the navigation: its path and its title in English, marked for translation."""

    path: str
    title: str


class NotSignedInError(Exception):
    """A page is asked for that needs a session."""


class Visit:
    """A request for a page.

    Attributes:
        request: of the web framework.
        session: the session that it belongs to; None while nobody is signed in.
        navigation: the pages that the member may go to.
        form: the fields of the form that was sent.
    """

    def __init__(
        self,
        request: Request,
        session: OpenSession | None,
        navigation: Sequence[NavigationEntry] = (),
        form: Form | None = None,
        goes_on: Callable[[OpenSession], Awaitable[bool]] | None = None,
    ) -> None:
        self.request = request
        self.session = session
        self.form: Form = form or {}
        self.navigation = tuple(navigation)
        self._goes_on = goes_on

    @property
    def member(self) -> SignedInMember:
        """The member who is signed in.

        Raises:
            NotSignedInError: nobody is.
        """
        if self.session is None:
            raise NotSignedInError
        return self.session.member

    @property
    def apps(self) -> tuple[str, ...]:
        """The appids that may be shown; empty if the owner has none, and then nothing may be asked for."""
        return self.member.apps

    @property
    def language(self) -> Language:
        """The language of the page."""
        cookie = self.request.cookies.get(LANGUAGE_COOKIE, "")
        return chosen_language(cookie, self.request.headers.get("accept-language", ""))

    @property
    def wording(self) -> Wording:
        """The texts and formats of that language."""
        return WORDINGS[self.language]

    @property
    def theme(self) -> Theme:
        """Light or dark, or as the system has it."""
        cookie = self.request.cookies.get(THEME_COOKIE)
        return next((one for one in THEMES if one == cookie), "auto")

    def value(self, name: str) -> str:
        """The first value of a field of the form; empty if there is none."""
        return self.form.get(name, [""])[0][:VALUE_CHARACTERS_MAX].strip()

    def page(self, template: str, values: Mapping[str, Any] | None = None, status: int = 200) -> Response:
        """The page that a template makes of values."""
        return HTMLResponse(rendered(template, self.language, {**self._common(), **(values or {})}), status)

    def content(self, template: str, values: Mapping[str, Any]) -> str:
        """The content of such a page within its frame."""
        return rendered(template, self.language, {**self._common(), **values, "frame": "content.html"})

    async def goes_on(self) -> bool:
        """Return whether the session has not ended since."""
        return self.session is not None and self._goes_on is not None and await self._goes_on(self.session)

    def redirect(self, path: str, **query: str) -> Response:
        """Go to a page of the console, after a form."""
        return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)

    def _common(self) -> dict[str, Any]:
        request, session = self.request, self.session
        address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return {
            "form_field": FIELD,
            "form_token": "" if session is None else form_token(session.token),
            "frame": "layout.html",
            "here": request.url.path,
            "address": address if request.method == "GET" else request.url.path,
            "language": self.language,
            "language_tag": TAGS[self.language],
            "languages": LANGUAGES,
            "member": None if session is None else session.member,
            "navigation": self.navigation,
            "theme": self.theme,
            "themes": THEMES,
        }


def local_path(text: str, otherwise: str = "/") -> str:
    """A path of the console, from a text that anyone may have made; another one if it leads elsewhere."""
    if not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return otherwise
    parts = urlsplit(text)
    return otherwise if parts.scheme or parts.netloc else text
