"""A stand-in for a company's identity provider: real keys and signatures, over HTTP."""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from aiohttp import BasicAuth, web
from aiohttp.typedefs import Handler
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.ports import free_port

CLIENT = "phonemeter-console"
SECRET = "of the tests"  # noqa: S105 - of the tests


class StandInProvider:
    """A provider that signs everyone in at once, as whoever the test says.

    Attributes:
        claims: what its next ID token says besides, or instead.
        faults: `error` sends browsers back without a code, `down` answers nothing, `other_key` signs with a
            key that is not told, `unsigned` does not sign.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.claims: dict[str, Any] = {}
        self.faults: set[str] = set()
        self.keys = [RSAKey.generate_key(2_048, {"kid": "first"}, auto_kid=True)]
        self.readings = 0
        self._codes: dict[str, Mapping[str, str]] = {}

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._down])
        application.router.add_get("/.well-known/openid-configuration", self._describe)
        application.router.add_get("/keys", self._tell_keys)
        application.router.add_get("/authorize", self._authorize)
        application.router.add_post("/token", self._token)
        return application

    def change_keys(self) -> None:
        """Sign with another key from now on."""
        self.keys = [RSAKey.generate_key(2_048, {"kid": secrets.token_hex(4)}, auto_kid=True)]

    @web.middleware
    async def _down(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "down" in self.faults:
            return web.Response(status=503)
        return await handler(request)

    async def _describe(self, _request: web.Request) -> web.Response:
        self.readings += 1
        told = {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "jwks_uri": f"{self.base}/keys",
        }
        return web.json_response(told)

    async def _tell_keys(self, _request: web.Request) -> web.Response:
        return web.json_response(KeySet([*self.keys]).as_dict(private=False))

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert asked["code_challenge_method"] == "S256"
        assert set(asked["scope"].split()) == {"openid", "email"}
        back = {"state": asked["state"]}
        if "error" in self.faults:
            back["error"] = "access_denied"
        else:
            back["code"] = secrets.token_hex(8)
            self._codes[back["code"]] = dict(asked)
        return web.Response(status=303, headers={"location": f"{asked['redirect_uri']}?{urlencode(back)}"})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self._codes.pop(str(form["code"]), None)
        given = BasicAuth.decode(request.headers["authorization"])
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or (given.login, given.password) != (CLIENT, SECRET)
            or form["redirect_uri"] != asked["redirect_uri"]
            or challenge != asked["code_challenge"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {"access_token": "a", "token_type": "Bearer", "id_token": self._id_token(asked["nonce"])}
        )

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        usual = {"iss": self.base, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300, "nonce": nonce}
        claims = {name: value for name, value in {**usual, **self.claims}.items() if value is not None}
        key = RSAKey.generate_key(2_048) if "other_key" in self.faults else self.keys[0]
        if "unsigned" in self.faults:
            parts = ({"alg": "none"}, claims)
            return ".".join(jwt.encode({"alg": "RS256"}, one, key).split(".")[1] for one in parts) + "."
        return jwt.encode({"alg": "RS256", "kid": self.keys[0].kid}, claims, key)


@asynccontextmanager
async def stand_in_provider() -> AsyncIterator[StandInProvider]:
    """A provider on loopback in the block."""
    port = free_port()
    provider = StandInProvider(f"http://127.0.0.1:{port}")
    runner = web.AppRunner(provider.application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield provider
    finally:
        await runner.cleanup()
