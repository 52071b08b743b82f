"""The access to Kafka as options of librdkafka."""

import time
from functools import partial
from typing import Any

from kafka_access.access import KafkaAccess, Login, Tls
from kafka_access.tokens import AccessTokens, tokens_of


def librdkafka_options(access: KafkaAccess) -> dict[str, Any]:
    """The options with which a client of librdkafka reaches the brokers.

    Raises:
        KafkaAccessError: a file cannot be read, or the token endpoint gives no token.
    """
    options: dict[str, Any] = {"bootstrap.servers": access.brokers, "security.protocol": access.protocol}
    return options | _tls(access.tls) | _login(access.login)


def _tls(tls: Tls | None) -> dict[str, str]:
    if tls is None:
        return {}
    # Librdkafka's words on an unreadable file are several lines, and without the file's name.
    tls.context()
    given = {
        "ssl.ca.location": tls.ca_file,
        "ssl.certificate.location": tls.certificate_file,
        "ssl.key.location": tls.key_file or tls.certificate_file,
        "ssl.key.password": tls.key_password(),
    }
    return {
        "ssl.endpoint.identification.algorithm": "https" if tls.check_host_name else "none",
        **{name: str(value) for name, value in given.items() if value is not None},
    }


def _login(login: Login | None) -> dict[str, Any]:
    if login is None:
        return {}
    if login.endpoint is None:
        return {
            "sasl.mechanism": login.mechanism,
            "sasl.username": login.user,
            "sasl.password": login.password(),
        }
    tokens = tokens_of(login.endpoint)
    # A client that gets none waits for seconds, and does not say why.
    tokens.token()
    return {"sasl.mechanism": login.mechanism, "oauth_cb": partial(_lease, tokens)}


def _lease(tokens: AccessTokens, _config: str) -> tuple[str, float]:
    """The token and when it expires, in seconds since 1970, as confluent-kafka asks for them."""
    lease = tokens.lease()
    return lease.token, time.time() + lease.left_s
