"""WeChat's answers in JSON, decoded leniently: numbers may be texts, unknown fields may come."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=10**15)]
Seconds = Annotated[int, Meta(ge=0, le=10**12)]


class WechatAnswer(Struct, frozen=True, kw_only=True):
    """The fields that any answer may have."""

    errcode: int = 0
    errmsg: str = ""


class TokenAnswer(WechatAnswer, frozen=True, kw_only=True):
    """An access token of an app."""

    access_token: Annotated[str, Meta(max_length=2_048)] = ""
    expires_in: Seconds = 0


class ComponentTokenAnswer(WechatAnswer, frozen=True, kw_only=True):
    """The access token of a third-party platform."""

    component_access_token: Annotated[str, Meta(max_length=2_048)] = ""
    expires_in: Seconds = 0


class AuthorizerTokenAnswer(WechatAnswer, frozen=True, kw_only=True):
    """A token by which a third-party platform acts for an app, and the refresh token that gives the next."""

    authorizer_access_token: Annotated[str, Meta(max_length=2_048)] = ""
    authorizer_refresh_token: Annotated[str, Meta(max_length=2_048)] = ""
    expires_in: Seconds = 0


class QuotaRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """One quota: a pack, or the trial quota, which has no `pkg_id`."""

    pkg_id: Annotated[str, Meta(max_length=128)] | None = None
    order_id: Annotated[str, Meta(max_length=128)] | None = None
    start_time: Seconds = 0
    end_time: Seconds = 0
    used: Count = 0
    size: Count = msgspec.field(default=0, name="all")
    status: int = 0


class UsageAnswer(WechatAnswer, frozen=True, kw_only=True, rename="camel"):
    """One page of an app's quotas of one capability."""

    total: Count = 0
    detail_list: Annotated[list[QuotaRow], Meta(max_length=1_000)] | None = None


A = TypeVar("A", bound=WechatAnswer)


def decode_answer(body: bytes, kind: type[A]) -> A | None:
    """An answer; None if it is not one of WeChat's."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
