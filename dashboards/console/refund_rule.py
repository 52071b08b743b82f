"""The refund of an order's pack, as the page foresees it: rule 10 on the figures of the ledger."""

from collections.abc import Mapping
from typing import Final

from dashboards.console.languages import marked
from dashboards.reads.packs import BoughtPack
from metering.packs import Pack
from metering.purchases import objection_to_refund
from metering.times import parse_time

REFUSALS: Final[Mapping[str, str]] = {
    "used": marked("calls of the pack were used"),
    "after_7_days": marked("it was paid more than 7 days ago"),
    "lapsed": marked("the pack has lapsed"),
    "already_refunded": marked("the pack was given back already"),
    "already_waiting": marked("a refund was asked for already"),
    "unknown_pack": marked("the ledger does not know the pack"),
}
"""Reasons of refusals in words."""


def refusal_of_refund(pack: BoughtPack, now_ms: int) -> str | None:
    """The reason for which a refund would be refused now; the worker has the last word."""
    if pack.status == "refunded":
        return "already_refunded"
    if pack.status == "lapsed":
        return "lapsed"
    terms = Pack(
        expires_at_ms=parse_time(pack.expires_at),
        starts_at_ms=parse_time(pack.starts_at),
        pack_id=pack.pack_id,
        calls=pack.calls,
        price_micro_yuan=pack.price_micro_yuan,
        validity_days=pack.validity_days,
        paid_at_ms=parse_time(pack.paid_at),
        order_id=pack.order_id,
        remaining=pack.remaining,
    )
    return objection_to_refund(terms, now_ms, used=pack.used_before + pack.charged)
