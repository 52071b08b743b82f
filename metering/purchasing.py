"""Buying and giving back packs; late recorded packs take over calls (DESIGN rules 6, 7 and 10)."""

from typing import Final, Literal

from metering import alerting
from metering.accounts import Account, Use, encode_account
from metering.charging import take_call
from metering.events import Capability, Purchased, Refunded
from metering.lines import Lines, details_json
from metering.packs import Pack
from metering.rules import Rules
from metering.time_passing import lapse, schedule, schedule_pack
from metering.times import DAY_MS
from metering.uncovered import UncoveredCalls

REFUND_DAYS: Final = 7
PACKS_MAX: Final = 2_000
"""Packs of one app and capability at most: all of them are looked at whenever one starts or ends."""

ACCOUNT_BYTES_MAX: Final = 800_000
"""An account that is stored in more bytes gets no further pack: it is one record of the durable state, which
the broker limits to 1 MB, and it still grows a little while its packs end."""

RefundRefusal = Literal["unknown_pack", "already_refunded", "lapsed", "used", "after_7_days"]


def purchase(
    account: Account,
    event: Purchased,
    time_ms: int,
    uncovered: UncoveredCalls,
    lines: Lines,
    rules: Rules,
) -> UncoveredCalls:
    """Add a bought pack to its account.

    Returns:
        The remembered uncovered calls without those that the pack took over.
    """
    capability = event.data.capability
    use = account.uses[capability]
    pack = Pack.bought(event.data, rules)
    refusal = _refuse_purchase(account, use, pack)
    lines.add(
        "purchase_refused" if refusal else "purchase",
        time_ms,
        account.appid,
        capability,
        event_id=event.id,
        calls=0 if refusal else pack.calls,
        amount_micro_yuan=0 if refusal else pack.price_micro_yuan,
        pack_id=pack.pack_id,
        remaining=0 if refusal else pack.calls,
        reason=refusal or "",
        source=event.source,
        details=_terms(pack),
    )
    if refusal:
        return uncovered
    use.add_open(pack)
    if pack.covers(account.clock_ms):
        use.active_size += pack.calls
        use.active_remaining += pack.calls
    left_uncovered = _take_over(account, capability, pack, uncovered, lines, rules, time_ms=time_ms)
    if pack.covers(account.clock_ms):
        alerting.topped_up(account, capability, time_ms, lines, rules)
    alerting.balance_fell(account, capability, time_ms, lines)
    if pack.lapses_at_ms(rules) <= account.clock_ms and pack in use.open:
        lapse(account, capability, pack, lines)
    schedule_pack(account, capability, pack, rules)
    return left_uncovered


def refund(account: Account, event: Refunded, time_ms: int, lines: Lines, rules: Rules) -> None:
    """Give a pack back if it is untouched and was paid within seven days; else refuse with a reason."""
    pack_id = event.data.pack_id
    capability, pack, refusal = _refundable(account, pack_id, time_ms)
    lines.add(
        "refund_refused" if refusal or pack is None else "refund",
        time_ms,
        account.appid,
        capability,
        event_id=event.id,
        calls=0 if refusal or pack is None else pack.calls,
        amount_micro_yuan=0 if refusal or pack is None else pack.price_micro_yuan,
        pack_id=pack_id,
        reason=refusal or "",
        source=event.source,
    )
    if refusal or pack is None or capability == "":
        return
    use = account.uses[capability]
    pack.remaining = 0
    use.close(pack, "refunded")
    if pack.covers(account.clock_ms):
        use.active_size -= pack.calls
        use.active_remaining -= pack.calls
    alerting.balance_fell(account, capability, time_ms, lines)
    schedule(account, rules)


def _refuse_purchase(account: Account, use: Use, pack: Pack) -> str | None:
    if any(pack.pack_id == known.pack_id for each in account.uses.values() for known in each.packs):
        return "known_pack"
    full = len(use.packs) >= PACKS_MAX or len(encode_account(account)) > ACCOUNT_BYTES_MAX
    return "too_many_packs" if full else None


def _refundable(
    account: Account, pack_id: str, time_ms: int
) -> tuple[Capability | Literal[""], Pack | None, RefundRefusal | None]:
    for capability, use in account.uses.items():
        for pack in (*use.open, *use.spent):
            if pack.pack_id == pack_id:
                return capability, pack, _refuse_refund(pack, time_ms)
        for closed in use.closed:
            if closed.pack.pack_id == pack_id:
                return capability, closed.pack, _CLOSED_REFUSALS[closed.status]
    return "", None, "unknown_pack"


_CLOSED_REFUSALS: Final[dict[str, RefundRefusal]] = {
    "exhausted": "used",
    "lapsed": "lapsed",
    "refunded": "already_refunded",
}


def _refuse_refund(pack: Pack, time_ms: int) -> RefundRefusal | None:
    if pack.remaining < pack.calls:
        return "used"
    return "after_7_days" if time_ms - pack.paid_at_ms > REFUND_DAYS * DAY_MS else None


def _take_over(
    account: Account,
    capability: Capability,
    pack: Pack,
    uncovered: UncoveredCalls,
    lines: Lines,
    rules: Rules,
    *,
    time_ms: int,
) -> UncoveredCalls:
    """Charge the uncovered calls that the pack covers: each as a pair of lines, taking back and charging."""
    use = account.uses[capability]
    taken = uncovered.covered_by(pack, pack.remaining)
    if not taken:
        return uncovered
    for call in taken:
        where = {
            "event_id": call.event_id,
            "reason": "taken_over",
            "scene": call.scene,
            "store": call.store,
            "env": call.env,
            "client": call.client,
            "source": call.source,
        }
        cost, left = take_call(account, use, pack)
        lines.add("uncovered", call.time_ms, account.appid, capability, calls=-1, **where)
        lines.add(
            "charge",
            call.time_ms,
            account.appid,
            capability,
            calls=1,
            amount_micro_yuan=cost,
            pack_id=pack.pack_id,
            remaining=left,
            **where,
        )
        alerting.call_taken_over(account, capability, call.time_ms, time_ms, lines, rules)
    return uncovered.without(taken)


def _terms(pack: Pack) -> str:
    return details_json(
        order_id=pack.order_id,
        calls=pack.calls,
        validity_days=pack.validity_days,
        price_micro_yuan=pack.price_micro_yuan,
        paid_at_ms=pack.paid_at_ms,
        starts_at_ms=pack.starts_at_ms,
        expires_at_ms=pack.expires_at_ms,
    )
