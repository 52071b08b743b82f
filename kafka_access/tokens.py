"""Access tokens of OAuth 2 by client credentials, for the SASL mechanism OAUTHBEARER."""

import threading
import time
from typing import Any, Final

import msgspec

from kafka_access.access import KafkaAccessError, TokenEndpoint

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 262_144
LIFETIME_S: Final = 300.0
"""Lifetime of a token whose endpoint does not say it."""

KEPT_OF_LIFETIME: Final = 0.8
_OK: Final = 200


class _Answer(msgspec.Struct):
    """A successful answer of the endpoint."""

    access_token: str
    expires_in: float = LIFETIME_S


class AccessTokens:
    """The tokens of one client: the newest is kept for most of its lifetime. For several threads."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._kept = ""
        self._until_s = 0.0

    def token(self) -> str:
        """A valid token. Blocking.

        Raises:
            KafkaAccessError: the endpoint gives none.
        """
        with self._lock:
            if time.monotonic() >= self._until_s:
                asked_s = time.monotonic()
                answer = self._fetched()
                self._kept = answer.access_token
                self._until_s = asked_s + KEPT_OF_LIFETIME * answer.expires_in
            return self._kept

    def _fetched(self) -> _Answer:
        # Who logs in otherwise does without it.
        import urllib3  # noqa: PLC0415 - see above

        one = self._endpoint
        fields = {"grant_type": "client_credentials"} | ({"scope": one.scope} if one.scope else {})
        headers = urllib3.make_headers(basic_auth=f"{one.client}:{one.secret()}")
        try:
            with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False) as pool:
                answer = pool.request(
                    "POST",
                    one.url,
                    fields=fields,
                    encode_multipart=False,
                    headers=headers,
                    preload_content=False,
                )
                body = answer.read(ANSWER_BYTES_MAX)
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise KafkaAccessError(
                f"The token endpoint {one.url} does not answer ({' '.join(str(error).split())[:200]}); check "
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


def _error_of(body: bytes) -> str:
    try:
        told: Any = msgspec.json.decode(body)
        return str(told["error"])[:100]
    except (msgspec.DecodeError, KeyError, TypeError):
        return "without a reason"
