"""Access tokens: fetched when needed, kept in memory until shortly before they expire, and nowhere else."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from producers.wechat.answers import AuthorizerTokenAnswer, ComponentTokenAnswer, TokenAnswer
from producers.wechat.api import WechatApi
from producers.wechat.apps import WechatApp, WechatApps, WechatComponent
from producers.wechat.errors import WechatError, WechatFileError
from producers.wechat.secret import Secret

log = logging.getLogger(__name__)

MARGIN_S: Final = 60.0
"""Time before its expiry from which on a token is not used any more."""

GRANT: Final = "client_credential"

T = TypeVar("T")


class TokenSource(Protocol):
    """A source of the access token of one app."""

    async def token(self) -> str:
        """The token to use now."""

    def drop(self, token: str) -> None:
        """Note that WeChat did not take this token."""


class _Kept:
    """A token with its expiry; one fetch at a time."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._token = ""
        self._until_s = 0.0
        self.lock = asyncio.Lock()

    def get(self) -> str:
        return self._token if self._now_s() < self._until_s else ""

    def keep(self, token: str, expires_in_s: int, source: str) -> str:
        if not token:
            raise WechatError("unreachable", f"WeChat answered without a token for {source}.")
        self._token, self._until_s = token, self._now_s() + expires_in_s - MARGIN_S
        return token

    def drop(self, token: str) -> None:
        if token == self._token:
            self._token, self._until_s = "", 0.0


class OwnToken:
    """The token of an app with a secret of its own.

    It comes from `stable_token` and is never renewed by force, so that nobody else's token of the app ends.
    """

    def __init__(
        self, api: WechatApi, appid: str, secret: Secret, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._appid = appid
        self._secret = secret
        self._kept = _Kept(now_s)

    async def token(self) -> str:
        """The token to use now."""
        async with self._kept.lock:
            found = self._kept.get()
            if found:
                return found
            body = {"grant_type": GRANT, "appid": self._appid, "secret": _read(self._secret)}
            answer = await self._api.post("stable_token", {}, body, TokenAnswer)
            return self._kept.keep(answer.access_token, answer.expires_in, self._appid)

    def drop(self, token: str) -> None:
        """Note that WeChat did not take this token."""
        self._kept.drop(token)


class ComponentToken:
    """The token of a third-party platform, for which it needs its newest ticket."""

    def __init__(
        self, api: WechatApi, component: WechatComponent, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._component = component
        self._kept = _Kept(now_s)
        self._pushed_ticket = ""

    @property
    def appid(self) -> str:
        """The appid of the platform."""
        return self._component.appid

    def take_ticket(self, ticket: str) -> bool:
        """Note the ticket that WeChat pushed; return whether it is the first one."""
        is_first = not self._pushed_ticket
        self._pushed_ticket = ticket
        return is_first

    async def token(self) -> str:
        """The token to use now."""
        async with self._kept.lock:
            found = self._kept.get()
            if found:
                return found
            body = {
                "component_appid": self.appid,
                "component_appsecret": _read(self._component.secret),
                "component_verify_ticket": self._ticket(),
            }
            answer = await self._api.post("component_token", {}, body, ComponentTokenAnswer)
            return self._kept.keep(answer.component_access_token, answer.expires_in, self.appid)

    def drop(self, token: str) -> None:
        """Note that WeChat did not take this token."""
        self._kept.drop(token)

    def _ticket(self) -> str:
        if self._pushed_ticket:
            return self._pushed_ticket
        if self._component.ticket is not None:
            return _read(self._component.ticket)
        raise WechatError(
            "busy", f"WeChat has pushed no ticket of {self.appid} yet; it pushes one every ten minutes."
        )


class AuthorizerToken:
    """The token by which a third-party platform acts for an app."""

    def __init__(
        self,
        api: WechatApi,
        appid: str,
        component: ComponentToken,
        refresh_token: Secret,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._appid = appid
        self._component = component
        self._refresh_token = refresh_token
        self._renewed = ""
        self._kept = _Kept(now_s)

    async def token(self) -> str:
        """The token to use now."""
        async with self._kept.lock:
            return self._kept.get() or await self._fetched()

    def drop(self, token: str) -> None:
        """Note that WeChat did not take this token."""
        self._kept.drop(token)

    async def _fetched(self) -> str:
        refresh_token = self._renewed or _read(self._refresh_token)
        body = {
            "component_appid": self._component.appid,
            "authorizer_appid": self._appid,
            "authorizer_refresh_token": refresh_token,
        }

        async def ask(token: str) -> AuthorizerTokenAnswer:
            query = {"component_access_token": token}
            return await self._api.post("authorizer_token", query, body, AuthorizerTokenAnswer)

        answer = await with_token(self._component, ask)
        renewed = answer.authorizer_refresh_token
        if renewed and renewed != refresh_token:
            self._renewed = renewed
            log.warning(
                "WeChat gave %s another refresh token: the one of %s is out of date, replace it before the "
                "next start.",
                self._appid,
                self._refresh_token.where,
            )
        return self._kept.keep(answer.authorizer_access_token, answer.expires_in, self._appid)


class Tokens:
    """The source of tokens of each app."""

    def __init__(self, api: WechatApi, apps: WechatApps) -> None:
        self._components = {
            appid: ComponentToken(api, component) for appid, component in apps.components.items()
        }
        self._apps: dict[str, TokenSource] = {appid: self._of(api, app) for appid, app in apps.apps.items()}

    def of_app(self, appid: str) -> TokenSource:
        """The source of an app."""
        return self._apps[appid]

    def take_ticket(self, component: str, ticket: str) -> bool:
        """Note the ticket that WeChat pushed to a platform; return whether it is the first one."""
        return self._components[component].take_ticket(ticket)

    def _of(self, api: WechatApi, app: WechatApp) -> TokenSource:
        if app.secret is not None:
            return OwnToken(api, app.appid, app.secret)
        if app.refresh_token is None:
            raise ValueError(f"{app.appid} has neither a secret nor a refresh token")
        return AuthorizerToken(api, app.appid, self._components[app.component], app.refresh_token)


async def with_token(source: TokenSource, ask: Callable[[str], Awaitable[T]]) -> T:
    """Ask with a token; once more with another one if WeChat does not take it.

    Raises:
        WechatError: it was not answered as asked.
    """
    token = await source.token()
    try:
        return await ask(token)
    except WechatError as error:
        if error.trouble != "token":
            raise
    source.drop(token)
    return await ask(await source.token())


def _read(secret: Secret) -> str:
    try:
        return secret.read()
    except WechatFileError as error:
        raise WechatError("refused", str(error)) from None
