"""The reading of an app's quotas at WeChat: all pages of one moment."""

from typing import Final

from producers.wechat.answers import QuotaRow, UsageAnswer
from producers.wechat.api import WechatApi
from producers.wechat.errors import WechatError
from producers.wechat.tokens import TokenSource, with_token

PAGE_ROWS: Final = 20
"""The most that WeChat gives at a time."""

ROWS_MAX: Final = 5_000
READINGS: Final = 3
"""Attempts at a list that changes while its pages are read."""


async def read_usage(api: WechatApi, tokens: TokenSource, spu: str) -> list[QuotaRow]:
    """Read all quotas of one capability.

    Raises:
        WechatError: they could not be read.
    """
    for _ in range(READINGS):
        rows = await _read_once(api, tokens, spu)
        if rows is not None:
            return rows
    raise WechatError("busy", f"WeChat's list of packs changed during each of {READINGS} readings.")


async def _read_once(api: WechatApi, tokens: TokenSource, spu: str) -> list[QuotaRow] | None:
    """Read all pages; None if the list changed between two of them."""
    rows: list[QuotaRow] = []
    total: int | None = None
    while total is None or len(rows) < total:
        page = await _page(api, tokens, spu, len(rows))
        found = page.detail_list or []
        if page.total > ROWS_MAX:
            raise WechatError("refused", f"WeChat has {page.total:,} packs; {ROWS_MAX:,} are the most.")
        if total not in {None, page.total} or (not found and len(rows) < page.total):
            return None
        total = page.total
        rows += found
    # A pack that was added in front shifts the rest, so that one row is read twice and another one never.
    names = [row.pkg_id for row in rows if row.pkg_id]
    return rows if len(set(names)) == len(names) and len(rows) == total else None


async def _page(api: WechatApi, tokens: TokenSource, spu: str, offset: int) -> UsageAnswer:
    async def ask(token: str) -> UsageAnswer:
        query = {"access_token": token, "spuId": spu, "offset": str(offset), "limit": str(PAGE_ROWS)}
        return await api.get("usage", query, UsageAnswer)

    return await with_token(tokens, ask)
