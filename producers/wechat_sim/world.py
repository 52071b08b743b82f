"""The stand-in's state, and its answers to requests; without HTTP."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from producers.wechat_sim.accounts import IssuedTokens, SimulatedApp, SimulatedComponent
from producers.wechat_sim.packs import DAY_S, SPUS, SimulatedPack, new_pack_id

PAGE_MAX: Final = 20

Answer = dict[str, Any]


class RefusedRequestError(Exception):
    """A request that WeChat answers with an error number."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(errmsg)
        self.errcode = errcode
        self.errmsg = errmsg


class SimulatedWechat:
    """Apps and platforms, tokens, and errors that were asked for.

    Attributes:
        asked: by endpoint, the number of requests.
        errors: by endpoint, the error numbers of the next requests; 0 is none, and a negative number below -1
            closes the connection.
    """

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self.now_s = now_s
        self.tokens = IssuedTokens(now_s)
        self.apps: dict[str, SimulatedApp] = {}
        self.components: dict[str, SimulatedComponent] = {}
        self.asked: Counter[str] = Counter()
        self.errors: dict[str, deque[int]] = {}

    def add(self, account: SimulatedApp | SimulatedComponent) -> None:
        """Add an app or a platform."""
        if isinstance(account, SimulatedApp):
            self.apps[account.appid] = account
        else:
            self.components[account.appid] = account

    def buy(
        self,
        appid: str,
        capability: str,
        calls: int,
        days: int,
        *,
        start_s: float | None = None,
        pkg_id: str = "",
        order_id: str = "",
    ) -> SimulatedPack:
        """Buy a pack."""
        start = int(self.now_s() if start_s is None else start_s)
        pack = SimulatedPack(
            pkg_id or new_pack_id(), SPUS[capability], calls, start, start + days * DAY_S, order_id=order_id
        )
        self.apps[appid].quotas.packs.append(pack)
        return pack

    def answer(self, endpoint: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        """Answer a request.

        Raises:
            RefusedRequestError: WeChat would not do it.
            ConnectionError: the connection is to be closed without an answer.
        """
        self.asked[endpoint] += 1
        queued = self.errors.get(endpoint)
        errcode = queued.popleft() if queued else 0
        if errcode < -1:
            raise ConnectionError
        if errcode:
            raise RefusedRequestError(errcode, "asked for")
        answers: dict[str, Callable[[Mapping[str, str], Mapping[str, Any]], Answer]] = {
            "usage": self._usage,
            "stable_token": self._stable_token,
            "component_token": self._component_token,
            "authorizer_token": self._authorizer_token,
        }
        return answers[endpoint](query, body)

    def _stable_token(self, _query: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        app = self.apps.get(str(body.get("appid")))
        if app is None or not app.secret:
            raise RefusedRequestError(40013, "invalid appid")
        if body.get("grant_type") != "client_credential":
            raise RefusedRequestError(40002, "invalid grant_type")
        if body.get("secret") != app.secret:
            raise RefusedRequestError(40125, "invalid appsecret")
        token, left_s = self.tokens.issue(app.appid, anew=body.get("force_refresh") is True)
        return {"access_token": token, "expires_in": left_s}

    def _component_token(self, _query: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        component = self.components.get(str(body.get("component_appid")))
        if component is None:
            raise RefusedRequestError(40013, "invalid appid")
        if body.get("component_appsecret") != component.secret:
            raise RefusedRequestError(40125, "invalid appsecret")
        if body.get("component_verify_ticket") != component.ticket:
            raise RefusedRequestError(61006, "component ticket is invalid")
        token, left_s = self.tokens.issue(component.appid)
        return {"component_access_token": token, "expires_in": left_s}

    def _authorizer_token(self, query: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        given = query.get("component_access_token") or query.get("access_token", "")
        component = self._owner_of(given)
        app = self.apps.get(str(body.get("authorizer_appid")))
        if component not in self.components or body.get("component_appid") != component:
            raise RefusedRequestError(61011, "invalid component")
        if app is None or app.component != component:
            raise RefusedRequestError(61003, "component is not authorized by this account")
        if body.get("authorizer_refresh_token") != app.refresh_token:
            raise RefusedRequestError(61023, "refresh_token is invalid")
        token, left_s = self.tokens.issue(app.appid, anew=True)
        return {
            "authorizer_access_token": token,
            "expires_in": left_s,
            "authorizer_refresh_token": app.refresh_token,
        }

    def _usage(self, query: Mapping[str, str], _body: Mapping[str, Any]) -> Answer:
        app = self.apps.get(self._owner_of(query.get("access_token", "")))
        if app is None:
            raise RefusedRequestError(48001, "api unauthorized")
        spu = query.get("spuId", "")
        if spu not in SPUS.values():
            raise RefusedRequestError(10120700, "spuId is invalid")
        offset, limit = query.get("offset", ""), query.get("limit", "")
        if not (offset.isdigit() and limit.isdigit() and 1 <= int(limit) <= PAGE_MAX):
            raise RefusedRequestError(10120002, "param invalid")
        now_s = self.now_s()
        rows = app.quotas.rows(spu, now_s)
        used, size = app.quotas.totals(spu, now_s)
        return {
            "errcode": 0,
            "errmsg": "ok",
            "all": str(size),
            "effectiveAll": str(size),
            "effectiveUse": str(used),
            "total": len(rows),
            "detailList": rows[int(offset) : int(offset) + int(limit)],
        }

    def _owner_of(self, token: str) -> str:
        if not token:
            raise RefusedRequestError(41001, "access_token missing")
        owner = self.tokens.owner_of(token)
        if owner is None:
            raise RefusedRequestError(40001, "invalid credential, access_token is invalid or not latest")
        if not owner:
            raise RefusedRequestError(42001, "access_token expired")
        return owner
