"""Settings of WeChat's side: environment variables named `PHONEMETER_` plus the field."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from producers.settings import ListeningSettings

API: Final = r"^(https://[^\s/?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?)$"
"""Plain HTTP only on this machine: the address of each request has a token in it."""


class WechatSettings(ListeningSettings):
    """Settings of the service that talks to WeChat, and publishes what it reads. Frozen."""

    wechat_apps: Path | None = Field(
        None,
        description="File that says which apps are read from WeChat and how (docs/how-to/wechat.md); without "
        "one none are.",
    )
    wechat_api: Annotated[str, Field(pattern=API)] = Field(
        "https://api.weixin.qq.com",
        description="Address of WeChat's server-side interface.",
        json_schema_extra={"expected": "https:// and a host without a path; http:// on this machine only"},
    )
    wechat_poll_interval_s: int = Field(
        300, ge=1, le=86_400, description="Pause between two readings of an app's packs at WeChat."
    )
    wechat_timeout_s: int = Field(
        10, ge=1, le=60, description="How long one request to WeChat may take, from end to end."
    )
    wechat_spu_quick: Annotated[str, Field(pattern=r"^\d{1,20}$")] = Field(
        "10000077", description="WeChat's number (SPU) of the quick verification component."
    )
    wechat_spu_realtime: Annotated[str, Field(pattern=r"^\d{1,20}$")] = Field(
        "10000086", description="WeChat's number (SPU) of the real-time verification component."
    )
    wechat_port: int = Field(
        9468, ge=1, le=65_535, description="Port of the metrics and health of `phonemeter wechat`."
    )
    wechat_push_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that WeChat's pushes are received on, behind a reverse proxy with TLS.",
    )
    wechat_push_port: int = Field(
        9469, ge=1, le=65_535, description="Port that WeChat's pushes are received on."
    )
    wechat_push_age_max_s: int = Field(
        300,
        ge=10,
        le=3_600,
        description="How far the time of a push may be from now; a push is taken once within it.",
    )
