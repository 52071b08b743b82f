"""The access to Kafka as options of librdkafka."""

from typing import Any

from kafka_access.access import KafkaAccess, Login, Tls


def librdkafka_options(access: KafkaAccess) -> dict[str, Any]:
    """The options with which a client of librdkafka reaches the brokers.

    Raises:
        KafkaAccessError: a file cannot be read.
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


def _login(login: Login | None) -> dict[str, str]:
    if login is None:
        return {}
    if login.endpoint is None:
        return {
            "sasl.mechanism": login.mechanism,
            "sasl.username": login.user,
            "sasl.password": login.password(),
        }
    scope = {"sasl.oauthbearer.scope": login.endpoint.scope} if login.endpoint.scope else {}
    return scope | {
        "sasl.mechanism": login.mechanism,
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": login.endpoint.url,
        "sasl.oauthbearer.client.id": login.endpoint.client,
        "sasl.oauthbearer.client.secret": login.endpoint.secret(),
    }
