"""Settings of the console, from environment variables named `PHONEMETER_` plus the field."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ORIGIN = r"^(https?://[A-Za-z0-9.-]+(:\d{1,5})?)?$"
ISSUER = r"^((https://[A-Za-z0-9.-]+|http://(127\.0\.0\.1|localhost))(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?)?$"
"""Without TLS only on this machine: whoever is between could say that somebody is anybody."""


class ConsoleSettings(BaseSettings):
    """Settings of the service that shows the console. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    listen_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that health and metrics are served on; 0.0.0.0 inside a container.",
    )
    console_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that the console is served on, behind a reverse proxy with TLS.",
    )
    console_port: int = Field(9473, ge=1, le=65_535, description="Port that the console is served on.")
    console_metrics_port: int = Field(
        9474, ge=1, le=65_535, description="Port of the metrics and health of `phonemeter console`."
    )
    console_origin: Annotated[str, Field(pattern=ORIGIN)] = Field(
        "",
        description="Where browsers find the console; behind a reverse proxy with TLS it has to be set. "
        "Without it, http:// and the host that the browser names.",
        json_schema_extra={"expected": "https://HOST, without a path"},
    )
    console_gateway: Annotated[str, Field(pattern=ORIGIN)] = Field(
        "",
        description="Where back ends find the gateway, as the page of the first run shows it; by default the "
        "address on which it is served.",
        json_schema_extra={"expected": "https://HOST, without a path"},
    )
    console_proxy: str = Field(
        "",
        max_length=64,
        description="Address of the reverse proxy whose X-Forwarded-For names the client; without one, none "
        "is believed.",
    )
    console_oidc_issuer: Annotated[str, Field(pattern=ISSUER)] = Field(
        "",
        description="Issuer of the company's identity provider (OpenID Connect), by which members may sign "
        "in besides their password; console_origin has to be set then. Without one, by password alone.",
        json_schema_extra={"expected": "https://HOST or https://HOST/PATH, as the provider writes it"},
    )
    console_oidc_client_id: str = Field(
        "", max_length=256, description="Name of the console at the identity provider."
    )
    console_oidc_secret_file: Path | None = Field(
        None, description="File with the secret that the identity provider gave the console."
    )
    console_idle_min: int = Field(
        60, ge=1, le=1_440, description="Minutes without a request after which a session ends."
    )
    console_session_h: int = Field(
        12, ge=1, le=720, description="Hours after which a session ends at latest."
    )
    console_transfer: str = Field(
        "",
        max_length=1_000,
        description="Whom to pay by a bank transfer, by lines: payee, bank and account. With it orders can "
        "be paid so; an operator confirms what has arrived.",
    )
    console_test_payments: bool = Field(
        False,  # noqa: FBT003 - a field's default
        description="Let orders be paid by a button, without money, to try them out; only where console_host "
        "is 127.0.0.1.",
    )
    console_price_list: Path | None = Field(
        None,
        description="File of packs on sale besides the published ones, such as real-time or 180 days.",
    )
    console_recipients: bool = Field(
        True,  # noqa: FBT003 - a field's default
        description="Let owners set up whom alerts of their apps reach; the notifier reads it from the "
        "business database, and `phonemeter up` starts it.",
    )
    console_access_log: bool = Field(
        True,  # noqa: FBT003 - a field's default
        description="Log a line per request of the console: id, status and time; never a secret.",
    )

    @model_validator(mode="after")
    def _has_all_of_the_provider(self) -> Self:
        needed = ("console_origin", "console_oidc_client_id", "console_oidc_secret_file")
        missing = [f"PHONEMETER_{name.upper()}" for name in needed if not getattr(self, name)]
        if self.console_oidc_issuer and missing:
            raise ValueError(
                f"PHONEMETER_CONSOLE_OIDC_ISSUER is set, and {' and '.join(missing)} is not: set all of them."
            )
        return self
