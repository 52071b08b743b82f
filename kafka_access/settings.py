"""Settings of the access to Kafka, which every service has: variables named `PHONEMETER_` plus the field."""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kafka_access.access import KafkaAccess, Login, Mechanism, Security, Tls, TokenEndpoint


class KafkaSettings(BaseSettings):
    """Settings of the access to Kafka. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    kafka: Annotated[str, Field(pattern=r"^[^\s,]+:\d{1,5}(,[^\s,]+:\d{1,5})*$")] = Field(
        "127.0.0.1:9092",
        description="Kafka bootstrap servers.",
        json_schema_extra={"expected": "HOST:PORT, several of them separated by commas"},
    )
    kafka_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = Field(
        "",
        description="Prefix of the names of all topics and consumer groups.",
        json_schema_extra={"expected": "at most 100 letters, digits, dots, underscores and hyphens"},
    )
    kafka_replication_factor: int = Field(
        0,
        ge=0,
        le=100,
        description="Replicas of each topic: with so many they are made, and with fewer refused; 0 is the "
        "brokers' default.",
    )
    kafka_min_insync_replicas: int = Field(
        0,
        ge=0,
        le=100,
        description="`min.insync.replicas` of each topic, set and checked alike; 0 is 2 with three replicas "
        "or more, otherwise 1.",
    )
    kafka_security: Security = Field(
        "plaintext", description="How brokers are connected to: with TLS or not, with a SASL login or not."
    )
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the CA of the brokers' certificates; without it the system's are used."
    )
    kafka_check_host_name: bool = Field(
        True,  # noqa: FBT003 - a field's default
        description="Check that a broker's certificate names the host that was connected to.",
    )
    kafka_certificate_file: Path | None = Field(
        None, description="PEM file of the client's certificate, where brokers ask for one."
    )
    kafka_key_file: Path | None = Field(
        None, description="PEM file of its private key; without it the certificate's file holds both."
    )
    kafka_key_password_file: Path | None = Field(
        None, description="File with the password of the private key, if it has one."
    )
    kafka_sasl_mechanism: Mechanism = Field("SCRAM-SHA-512", description="How the login is proved.")
    kafka_user: str = Field("", description="User of the login (PLAIN and SCRAM).")
    kafka_password: str = Field(
        "",
        description="Password of the login; better in `kafka_password_file`.",
        repr=False,
        json_schema_extra={"secret": True},
    )
    kafka_password_file: Path | None = Field(None, description="File with the password of the login.")
    kafka_token_url: Annotated[str, Field(pattern=r"^(https?://[^\s/?#]+(/[^\s]*)?)?$")] = Field(
        "",
        description="URL of the OAuth 2 token endpoint (OAUTHBEARER, client credentials).",
        json_schema_extra={"expected": "a URL of the form https://HOST/PATH"},
    )
    kafka_token_client: str = Field("", description="Client id at the token endpoint.")
    kafka_token_secret_file: Path | None = Field(
        None, description="File with the client's secret at the token endpoint."
    )
    kafka_token_ca_file: Path | None = Field(
        None,
        description="PEM file of the CA of the token endpoint's certificate; without it the system's are "
        "used.",
    )
    kafka_token_scope: str = Field("", description="Scope that is asked for at the token endpoint.")

    @property
    def kafka_access(self) -> KafkaAccess:
        """The access in these settings."""
        return KafkaAccess(
            self.kafka,
            self.kafka_prefix,
            _tls(self) if self.kafka_security.endswith("tls") else None,
            _login(self) if self.kafka_security.startswith("sasl") else None,
            self.kafka_replication_factor,
            self.kafka_min_insync_replicas,
        )

    @model_validator(mode="after")
    def _check_kafka_access(self) -> Self:
        for sentence in (_inconsistent(self), _superfluous(self), _missing(self), _unreadable(self)):
            if sentence:
                raise ValueError(sentence)
        return self


def _tls(settings: KafkaSettings) -> Tls:
    return Tls(
        settings.kafka_ca_file,
        settings.kafka_certificate_file,
        settings.kafka_key_file,
        settings.kafka_key_password_file,
        settings.kafka_check_host_name,
    )


def _login(settings: KafkaSettings) -> Login:
    endpoint = None
    if settings.kafka_sasl_mechanism == "OAUTHBEARER" and settings.kafka_token_secret_file is not None:
        endpoint = TokenEndpoint(
            settings.kafka_token_url,
            settings.kafka_token_client,
            settings.kafka_token_secret_file,
            settings.kafka_token_scope,
            settings.kafka_token_ca_file,
        )
    return Login(
        settings.kafka_sasl_mechanism,
        settings.kafka_user,
        settings.kafka_password,
        settings.kafka_password_file,
        endpoint,
    )


def _inconsistent(settings: KafkaSettings) -> str:
    """A sentence if brokers would take no records."""
    replicas, insync = settings.kafka_replication_factor, settings.kafka_min_insync_replicas
    if replicas and insync > replicas:
        return (
            f"{_variable('kafka_min_insync_replicas')} is {insync} and "
            f"{_variable('kafka_replication_factor')} {replicas}: brokers would take no records; ask for at "
            f"most as many in sync as there are."
        )
    return ""


def _superfluous(settings: KafkaSettings) -> str:
    """A sentence if something is set that this security does not use."""
    tls = {"kafka_ca_file", "kafka_certificate_file", "kafka_key_file", "kafka_key_password_file"}
    secret = {"kafka_user", "kafka_password", "kafka_password_file"}
    token = {name for name in KafkaSettings.model_fields if name.startswith("kafka_token_")}
    given = {name for name in tls | secret | token if getattr(settings, name)}
    security = f"{_variable('kafka_security')} is {settings.kafka_security}"
    if not settings.kafka_security.endswith("tls") and (unused := given & tls):
        return f"{_variable(min(unused))} is for TLS, but {security}: set that to tls or sasl_tls."
    if not settings.kafka_security.startswith("sasl") and (unused := given & (secret | token)):
        return f"{_variable(min(unused))} is for a login, but {security}: set that to sasl_tls."
    by_token = settings.kafka_sasl_mechanism == "OAUTHBEARER"
    if unused := given & (secret if by_token else token):
        return (
            f"{_variable(min(unused))} is not used with {_variable('kafka_sasl_mechanism')}="
            f"{settings.kafka_sasl_mechanism}: {'its client logs in' if by_token else 'its user logs in'}, "
            f"so leave it out or choose another mechanism."
        )
    if settings.kafka_password and settings.kafka_password_file:
        return (
            f"{_variable('kafka_password')} and {_variable('kafka_password_file')} are both set: leave "
            f"one out."
        )
    return ""


def _missing(settings: KafkaSettings) -> str:
    """A sentence if something is not set that this security needs."""
    if settings.kafka_key_file and not settings.kafka_certificate_file:
        return f"{_variable('kafka_key_file')} needs {_variable('kafka_certificate_file')} beside it."
    if not settings.kafka_security.startswith("sasl"):
        return ""
    needed = ["kafka_user"]
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        needed = ["kafka_token_url", "kafka_token_client", "kafka_token_secret_file"]
    elif not settings.kafka_password:
        needed.append("kafka_password_file")
    missing = [_variable(name) for name in needed if not getattr(settings, name)]
    if missing:
        return (
            f"{_variable('kafka_security')} is {settings.kafka_security} with "
            f"{settings.kafka_sasl_mechanism}: set {' and '.join(missing)} as well."
        )
    return ""


def _unreadable(settings: KafkaSettings) -> str:
    """A sentence if a file cannot be read."""
    for name in KafkaSettings.model_fields:
        file = getattr(settings, name)
        if isinstance(file, Path) and not (file.is_file() and os.access(file, os.R_OK)):
            return f"{_variable(name)} is {file}, which is no file that can be read here."
    return ""


def _variable(name: str) -> str:
    return f"PHONEMETER_{name.upper()}"
