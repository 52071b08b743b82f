"""Signing in by the company's identity provider, beside the password."""

import asyncio
import base64
import logging
from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.responses import Response

from dashboards.console.identity_provider import (
    Departure,
    IdentityProvider,
    IdentityRefusedError,
    IdentityUnavailableError,
    ProviderPlace,
)
from dashboards.console.languages import marked
from dashboards.console.metrics import Metrics
from dashboards.console.page_guard import ConsolePage
from dashboards.console.pages.sign_in import SignInPages
from dashboards.console.sessions import SessionStore
from dashboards.console.settings import ConsoleSettings
from dashboards.console.visit import Visit, local_path

log = logging.getLogger(__name__)

BEGIN: Final = "/sign-in/company"
BACK: Final = "/sign-in/company/back"

MINUTES: Final = 10
"""Time that somebody may take at the provider."""

PLAIN_COOKIE: Final = "phonemeter_departure"
COOKIE_CHARACTERS_MAX: Final = 4_096

AWAY: Final = marked("The company sign-in can't be reached now. Try again, or use your password.")
REFUSED: Final = marked("The company sign-in was not completed. Try again.")
UNKNOWN: Final = marked(
    "You are no member here under the address of the company sign-in. Ask an owner to invite you."
)


def company_pages(
    settings: ConsoleSettings, sessions: SessionStore, sign_in: SignInPages, metrics: Metrics
) -> Sequence[ConsolePage]:
    """The pages, where the settings name a provider."""
    if settings.console_oidc_secret_file is None:
        return ()
    place = ProviderPlace(
        settings.console_oidc_issuer,
        settings.console_oidc_client_id,
        settings.console_oidc_secret_file,
        f"{settings.console_origin}{BACK}",
    )
    over_tls = settings.console_origin.startswith("https:")
    return CompanySignInPages(IdentityProvider(place), sessions, sign_in, metrics, over_tls=over_tls).pages


class CompanySignInPages:
    """The way to the provider, and back."""

    def __init__(
        self,
        provider: IdentityProvider,
        sessions: SessionStore,
        sign_in: SignInPages,
        metrics: Metrics,
        *,
        over_tls: bool,
    ) -> None:
        self._provider = provider
        self._sessions = sessions
        self._sign_in = sign_in
        self._metrics = metrics
        self._over_tls = over_tls
        self._cookie = f"__Host-{PLAIN_COOKIE}" if over_tls else PLAIN_COOKIE

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [ConsolePage(BEGIN, self._begin, None), ConsolePage(BACK, self._back, None)]

    async def _begin(self, visit: Visit) -> Response:
        wanted = local_path(visit.request.query_params.get("next", ""))
        if visit.session is not None:
            return visit.redirect(wanted)
        try:
            url, departure = await self._provider.begin(wanted)
        except IdentityUnavailableError as error:
            return self._away(visit, error)
        answer = visit.redirect(url)
        kept = base64.urlsafe_b64encode(msgspec.json.encode(departure)).decode()
        answer.set_cookie(
            self._cookie, kept, 60 * MINUTES, secure=self._over_tls, httponly=True, samesite="lax"
        )
        return answer

    async def _back(self, visit: Visit) -> Response:
        try:
            departure = _departure(visit.request.cookies.get(self._cookie, ""))
            email = await self._provider.email(visit.request.query_params, departure)
        except IdentityUnavailableError as error:
            return self._away(visit, error)
        except IdentityRefusedError as error:
            log.warning("A company sign-in was refused: %s.", error)
            return self._refused(visit, REFUSED, 401)
        member = await asyncio.to_thread(self._sessions.credentials, email)
        if member is None:
            return self._refused(visit, UNKNOWN, 403)
        self._metrics.sign_ins.labels("signed_in").inc()
        answer = await self._sign_in.begin_session(visit, member.member_id, local_path(departure.wanted))
        return self._forgetting(answer)

    def _away(self, visit: Visit, error: IdentityUnavailableError) -> Response:
        log.warning("The company sign-in failed: %s.", error)
        return self._sign_in.refusal(visit, visit.wording.text(AWAY), 503)

    def _refused(self, visit: Visit, sentence: str, status: int) -> Response:
        self._metrics.sign_ins.labels("refused").inc()
        visit.request.state.answer = "sign_in_refused"
        return self._forgetting(self._sign_in.refusal(visit, visit.wording.text(sentence), status))

    def _forgetting(self, answer: Response) -> Response:
        """The answer, after which the browser can't come back once more."""
        answer.delete_cookie(self._cookie, secure=self._over_tls, httponly=True, samesite="lax")
        return answer


def _departure(cookie: str) -> Departure:
    try:
        kept = base64.b64decode(cookie[:COOKIE_CHARACTERS_MAX], altchars=b"-_", validate=True)
        return msgspec.json.decode(kept, type=Departure)
    except ValueError:
        raise IdentityRefusedError("the browser has nothing of a sign-in that is under way") from None
