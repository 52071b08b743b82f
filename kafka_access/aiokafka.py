"""The access to Kafka as options of aiokafka, and as credentials of Faust."""

import asyncio
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials

from kafka_access.access import KafkaAccess
from kafka_access.renewed_context import RenewedContext
from kafka_access.tokens import AccessTokens, tokens_of


class _TokenProvider(AbstractTokenProvider):  # type: ignore[misc] # aiokafka has no types
    """AccessTokens as aiokafka asks for them."""

    def __init__(self, tokens: AccessTokens) -> None:
        super().__init__()
        self._tokens = tokens

    async def token(self) -> str:
        return await asyncio.to_thread(self._tokens.token)


def aiokafka_options(access: KafkaAccess) -> dict[str, Any]:
    """The options with which a client of aiokafka reaches the brokers.

    Raises:
        KafkaAccessError: a file cannot be read.
    """
    options: dict[str, Any] = {"bootstrap_servers": access.brokers, "security_protocol": access.protocol}
    if access.tls is not None:
        options["ssl_context"] = RenewedContext(access.tls)
    login = access.login
    if login is None:
        return options
    options["sasl_mechanism"] = login.mechanism
    if login.endpoint is not None:
        return options | {"sasl_oauth_token_provider": _TokenProvider(tokens_of(login.endpoint))}
    return options | {"sasl_plain_username": login.user, "sasl_plain_password": login.password()}


def faust_options(access: KafkaAccess) -> dict[str, Any]:
    """The options with which a Faust application reaches the brokers.

    Raises:
        KafkaAccessError: a file cannot be read.
    """
    return {
        "broker": ";".join(f"kafka://{address}" for address in access.addresses),
        "broker_credentials": _credentials(access),
    }


def _credentials(access: KafkaAccess) -> object:
    context = RenewedContext(access.tls) if access.tls is not None else None
    login = access.login
    if login is None:
        return SSLCredentials(context) if context is not None else None
    if login.endpoint is not None:
        return OAuthCredentials(oauth_cb=_TokenProvider(tokens_of(login.endpoint)), ssl_context=context)
    return SASLCredentials(
        username=login.user, password=login.password(), mechanism=login.mechanism, ssl_context=context
    )
