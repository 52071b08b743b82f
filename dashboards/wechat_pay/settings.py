"""Settings of payments by WeChat Pay, from environment variables named `PHONEMETER_` plus the field."""

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "wechat_pay_"


class WechatPaySettings(BaseSettings):
    """Settings of payments by WeChat Pay. Frozen. Without `wechat_pay_mchid` there are none."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    wechat_pay_mchid: Annotated[str, Field(pattern=r"^([0-9]{8,32})?$")] = Field(
        "",
        description="Merchant number (mchid) at WeChat Pay; without it orders are not paid by WeChat Pay.",
        json_schema_extra={"expected": "the number that WeChat Pay gave the merchant, 8 to 32 digits"},
    )
    wechat_pay_appid: Annotated[str, Field(pattern=r"^(wx[0-9A-Za-z]{8,30})?$")] = Field(
        "",
        description="Appid that is bound to the merchant number; orders are paid in its name.",
        json_schema_extra={"expected": "an appid such as wx8ff4154a2448e576"},
    )
    wechat_pay_serial: Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{8,64})?$")] = Field(
        "",
        description="Serial number of the merchant's API certificate, which goes with the private key.",
        json_schema_extra={"expected": "the hexadecimal serial number of the certificate"},
    )
    wechat_pay_private_key: Path | None = Field(
        None,
        description="File of the merchant's private key (apiclient_key.pem), readable by its owner only.",
    )
    wechat_pay_notice_key: Path | None = Field(
        None,
        description="File of the APIv3 key, 32 characters, readable by its owner only: notices are encrypted "
        "with it.",
    )
    wechat_pay_platform_keys: Path | None = Field(
        None,
        description="File of what WeChat Pay signs with: its public key (pub_key.pem), platform certificates "
        "or both, one after the other.",
    )
    wechat_pay_public_key_id: Annotated[str, Field(pattern=r"^(PUB_KEY_ID_[0-9A-Za-z]{1,64})?$")] = Field(
        "",
        description="Id of the public key in wechat_pay_platform_keys, PUB_KEY_ID_ and digits; certificates "
        "bring their own.",
        json_schema_extra={"expected": "PUB_KEY_ID_ and what WeChat Pay's page shows behind it"},
    )
    wechat_pay_notify_url: Annotated[
        str,
        Field(pattern=r"^(https?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._/-]*)?/pay/wechat/notify)?$", max_length=255),
    ] = Field(
        "",
        description="Where WeChat Pay finds the console's /pay/wechat/notify, from outside and by TLS.",
        json_schema_extra={"expected": "https://HOST/pay/wechat/notify, without a query"},
    )
    wechat_pay_url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?$")] = Field(
        "https://api.mch.weixin.qq.com",
        description="Where WeChat Pay is asked; https://api2.mch.weixin.qq.com is its second address.",
        json_schema_extra={"expected": "https://HOST, without a path"},
    )
    wechat_pay_timeout_s: float = Field(
        10.0, ge=0.1, le=60, description="Time that WeChat Pay has for an answer, in seconds."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        """Refuse a merchant of whom something is missing: it would be noticed at the first payment."""
        if not self.wechat_pay_mchid:
            return self
        needed = ("appid", "serial", "private_key", "notice_key", "platform_keys", "notify_url")
        missing = [f"{PREFIX}{name}" for name in needed if not getattr(self, f"{PREFIX}{name}")]
        if missing:
            raise ValueError(
                f"Payments by WeChat Pay need {', '.join(missing)} beside wechat_pay_mchid: set what is "
                f"missing, or unset wechat_pay_mchid."
            )
        return self
