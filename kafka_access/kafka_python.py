"""The access to Kafka as options of kafka-python."""

from typing import Any

from kafka.net.sasl.oauth import AbstractTokenProvider

from kafka_access.access import KafkaAccess
from kafka_access.renewed_context import RenewedContext
from kafka_access.tokens import AccessTokens, tokens_of


class _TokenProvider(AbstractTokenProvider):  # type: ignore[misc] # kafka-python has no types
    """AccessTokens as kafka-python asks for them."""

    def __init__(self, tokens: AccessTokens) -> None:
        super().__init__()
        self._tokens = tokens

    def token(self) -> str:
        return self._tokens.token()


def kafka_python_options(access: KafkaAccess) -> dict[str, Any]:
    """The options with which a client of kafka-python reaches the brokers.

    Raises:
        KafkaAccessError: a file cannot be read.
    """
    options: dict[str, Any] = {"bootstrap_servers": access.addresses, "security_protocol": access.protocol}
    if access.tls is not None:
        options |= {
            "ssl_context": RenewedContext(access.tls),
            "ssl_check_hostname": access.tls.check_host_name,
        }
    login = access.login
    if login is None:
        return options
    options["sasl_mechanism"] = login.mechanism
    if login.endpoint is not None:
        return options | {"sasl_oauth_token_provider": _TokenProvider(tokens_of(login.endpoint))}
    return options | {"sasl_plain_username": login.user, "sasl_plain_password": login.password()}
