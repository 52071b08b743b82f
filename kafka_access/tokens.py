"""Access tokens of OAuth 2 by client credentials, for the SASL mechanism OAUTHBEARER."""

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kafka_access.access import KafkaAccess, KafkaAccessError, TokenEndpoint, file_trouble

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 262_144
LIFETIME_S: Final = 300.0
"""Lifetime of a token whose endpoint does not say it."""

LIFETIME_S_MAX: Final = 86_400.0
KEPT_OF_LIFETIME: Final = 0.8
RETRY_S: Final = 10.0
"""Pause between two requests that renew a token which is still valid."""

ENDPOINTS_MAX: Final = 16
_OK: Final = 200


class _Answer(msgspec.Struct):
    """A successful answer of the endpoint."""

    access_token: str
    expires_in: float = LIFETIME_S


class TokenLease(NamedTuple):
    """A token, and the seconds for which it is valid."""

    token: str
    left_s: float


class AccessTokens:
    """The tokens of one client: the newest is kept for most of its lifetime. For several threads."""

    def __init__(self, endpoint: TokenEndpoint, now_s: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._now_s = now_s
        self._lock = threading.Lock()
        self._token = ""
        self._renewed_at_s = self._ends_at_s = 0.0

    def token(self) -> str:
        """A valid token. Blocking.

        Raises:
            KafkaAccessError: the endpoint gives none.
        """
        return self.lease().token

    def lease(self) -> TokenLease:
        """A valid token, and for how long it is. Blocking.

        Raises:
            KafkaAccessError: the endpoint gives none, and there is no valid one.
        """
        with self._lock:
            now_s = self._now_s()
            if now_s >= self._renewed_at_s or not self._token:
                self._renew(now_s)
            return TokenLease(self._token, self._ends_at_s - now_s)

    def forget(self) -> None:
        """Throw away the kept token, which brokers refuse."""
        with self._lock:
            self._token = ""

    def _renew(self, now_s: float) -> None:
        try:
            answer = _asked(self._endpoint)
        except KafkaAccessError as error:
            if not self._token or now_s >= self._ends_at_s:
                raise
            log.warning("%s; the token before is valid for %d s", error, self._ends_at_s - now_s)
            self._renewed_at_s = now_s + RETRY_S
            return
        lifetime_s = min(answer.expires_in, LIFETIME_S_MAX)
        self._token = answer.access_token
        self._renewed_at_s = now_s + KEPT_OF_LIFETIME * lifetime_s
        self._ends_at_s = now_s + lifetime_s


@lru_cache(maxsize=ENDPOINTS_MAX)
def tokens_of(endpoint: TokenEndpoint) -> AccessTokens:
    """The tokens of a client, which all connections of this process share."""
    return AccessTokens(endpoint)


# Another thread may hold a lock at the fork.
os.register_at_fork(after_in_child=tokens_of.cache_clear)


def forget_token(access: KafkaAccess) -> None:
    """Throw away the token with which brokers did not let us in, if we log in by one."""
    if access.login is not None and access.login.endpoint is not None:
        tokens_of(access.login.endpoint).forget()


def _asked(one: TokenEndpoint) -> _Answer:
    # Who logs in otherwise does without it.
    import urllib3  # noqa: PLC0415 - see above

    fields = {"grant_type": "client_credentials"} | ({"scope": one.scope} if one.scope else {})
    headers = urllib3.make_headers(basic_auth=f"{one.client}:{one.secret()}")
    try:
        with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False, ssl_context=_context(one.ca_file)) as pool:
            answer = pool.request(
                "POST", one.url, fields=fields, encode_multipart=False, headers=headers, preload_content=False
            )
            body = answer.read(ANSWER_BYTES_MAX)
            answer.release_conn()
    except urllib3.exceptions.SSLError as error:
        raise KafkaAccessError(
            f"The token endpoint {one.url} has a certificate that we do not trust, or speaks no TLS "
            f"({_first_words(error)}); set PHONEMETER_KAFKA_TOKEN_CA_FILE to the PEM file of the CA that "
            f"signed it, or correct the host in PHONEMETER_KAFKA_TOKEN_URL"
        ) from None
    except urllib3.exceptions.HTTPError as error:
        raise KafkaAccessError(
            f"The token endpoint {one.url} does not answer ({_first_words(error)}); check "
            f"PHONEMETER_KAFKA_TOKEN_URL and the way there"
        ) from None
    if answer.status != _OK:
        raise KafkaAccessError(
            f"The token endpoint {one.url} refuses client {one.client} ({answer.status} "
            f"{_error_of(body)}); check its id, its secret and the scope"
        )
    try:
        return msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        raise KafkaAccessError(
            f"The token endpoint {one.url} answers without an access token; check that the URL is that "
            f"of an OAuth 2 token endpoint"
        ) from None


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise KafkaAccessError(
            f"{ca_file} holds no certificates of a CA ({file_trouble(error)}); set "
            f"PHONEMETER_KAFKA_TOKEN_CA_FILE to the PEM file of the CA that signed the token endpoint's "
            f"certificate"
        ) from None


def _first_words(error: Exception) -> str:
    words = " ".join(str(error).split())
    return words.rsplit("] ", maxsplit=1)[-1].split(" (_ssl", maxsplit=1)[0][:200]


def _error_of(body: bytes) -> str:
    try:
        told: Any = msgspec.json.decode(body)
        return str(told["error"])[:100]
    except (msgspec.DecodeError, KeyError, TypeError):
        return "without a reason"
