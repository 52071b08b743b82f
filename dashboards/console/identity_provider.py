"""The identity provider of a company (OpenID Connect): it says who somebody is, instead of a password here.

The authorization code flow with PKCE: the browser brings a code, and only this program changes it for the
ID token, whose signature, issuer, audience, times and nonce are checked.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dashboards.console.members import normalized_email
from secret_files.secret_file import SecretError, read_secret

log = logging.getLogger(__name__)

SCOPE: Final = "openid email"
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
"""Signatures with a public key: with a shared secret, whoever knows it could sign."""

TIMEOUT_S: Final = 10.0
DESCRIPTION_S: Final = 3_600.0
"""Time after which the provider's description and keys are read again."""

NEW_KEYS_S: Final = 30.0
"""The least time between two readings because a token names a key that is not known."""

LEEWAY_S: Final = 60
RANDOM_BYTES: Final = 32


class IdentityUnavailableError(Exception):
    """The provider does not answer, or not as it should."""


class IdentityRefusedError(Exception):
    """The provider, or what it said, does not tell who somebody is."""


class Departure(msgspec.Struct, frozen=True):
    """The values of a sign-in that is under way; the browser keeps them until it comes back."""

    state: str
    nonce: str
    verifier: str
    wanted: str


class ProviderPlace(NamedTuple):
    """The provider's issuer, what we are to it, and where it sends browsers back to."""

    issuer: str
    client_id: str
    secret_file: Path
    redirect_uri: str


class _Description(msgspec.Struct):
    """The provider's own description, as far as it is needed."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: Sequence[str] = ("client_secret_basic",)


class _Known(NamedTuple):
    """A description with its keys, and when they were read."""

    description: _Description
    keys: KeySet
    read_s: float


class IdentityProvider:
    """A provider, described by itself at its issuer."""

    def __init__(
        self,
        place: ProviderPlace,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._known: _Known | None = None
        self._reading = asyncio.Lock()

    async def begin(self, wanted: str) -> tuple[str, Departure]:
        """The address that a browser goes to, and what it keeps meanwhile.

        Raises:
            IdentityUnavailableError: the provider does not answer.
        """
        known = await self._description()
        state, nonce, verifier = (secrets.token_urlsafe(RANDOM_BYTES) for _ in range(3))
        departure = Departure(state, nonce, verifier, wanted)
        async with self._client(known.description, "") as client:
            url, _ = client.create_authorization_url(
                known.description.authorization_endpoint,
                state=departure.state,
                code_verifier=departure.verifier,
                nonce=departure.nonce,
            )
        return str(url), departure

    async def email(self, query: Mapping[str, str], departure: Departure) -> str:
        """The verified address of who came back with a query.

        Raises:
            IdentityUnavailableError: the provider does not answer.
            IdentityRefusedError: nobody is told.
        """
        if not secrets.compare_digest(query.get("state", "").encode(), departure.state.encode()):
            raise IdentityRefusedError("the browser came back from another sign-in")
        if "code" not in query:
            raise IdentityRefusedError(f"the provider answered {query.get('error', 'nothing')[:64]!r}")
        known = await self._description()
        token = await self._id_token(known.description, query["code"], departure.verifier)
        claims = await self._claims(token, departure.nonce)
        email = normalized_email(str(claims.get("email", "")).lower())
        if email is None or claims.get("email_verified") is not True:
            raise IdentityRefusedError("the provider told no verified e-mail address")
        return email

    async def _id_token(self, description: _Description, code: str, verifier: str) -> str:
        try:
            # Each time, so that it may be changed while this runs.
            secret = await asyncio.to_thread(read_secret, self._place.secret_file)
            async with self._client(description, secret) as client:
                found = await client.fetch_token(
                    description.token_endpoint,
                    code=code,
                    code_verifier=verifier,
                    grant_type="authorization_code",
                )
        except AuthlibBaseError as error:
            raise IdentityRefusedError(f"the code was refused ({str(error)[:200]})") from None
        except SecretError as error:
            raise IdentityUnavailableError(str(error)) from None
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise IdentityUnavailableError(f"the code can't be changed for a token ({error!r})") from None
        token = found.get("id_token")
        if not isinstance(token, str):
            raise IdentityRefusedError("the provider gave no ID token")
        return token

    async def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        known = await self._description()
        try:
            try:
                decoded = jwt.decode(token, known.keys, ALGORITHMS)
            except (JoseError, ValueError):
                # Providers change their keys.
                known = await self._description(NEW_KEYS_S)
                decoded = jwt.decode(token, known.keys, ALGORITHMS)
            options = {
                "iss": {"essential": True, "value": known.description.issuer},
                "aud": {"essential": True, "value": self._place.client_id},
            }
            params = {"nonce": nonce, "client_id": self._place.client_id}
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(int(self._wall_s()), LEEWAY_S)
        except (JoseError, AuthlibBaseError, ValueError, TypeError) as error:
            raise IdentityRefusedError(f"the ID token is not valid ({str(error)[:200]})") from None
        return decoded.claims

    async def _description(self, older_than_s: float = DESCRIPTION_S) -> _Known:
        async with self._reading:
            known = self._known
            if known is None or self._monotonic_s() - known.read_s > older_than_s:
                known = self._known = await self._read()
            return known

    async def _read(self) -> _Known:
        where = f"{self._place.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
                told = (await client.get(where)).raise_for_status().content
                description = msgspec.json.decode(told, type=_Description)
                if description.issuer != self._place.issuer:
                    raise IdentityUnavailableError(f"{where} is that of {description.issuer[:200]!r}")
                keys = (await client.get(description.jwks_uri)).raise_for_status().content
            return _Known(description, KeySet.import_key_set(msgspec.json.decode(keys)), self._monotonic_s())
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            msgspec.DecodeError,
            JoseError,
            ValueError,
            KeyError,
        ) as error:
            raise IdentityUnavailableError(f"{where} can't be read ({error!r})") from None

    def _client(self, description: _Description, secret: str) -> AsyncOAuth2Client:
        methods = description.token_endpoint_auth_methods_supported
        usual = "client_secret_basic"
        return AsyncOAuth2Client(
            self._place.client_id,
            secret,
            token_endpoint_auth_method=usual if usual in methods else "client_secret_post",
            scope=SCOPE,
            redirect_uri=self._place.redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )
