"""Advice on the pack to buy: what each pack on sale would do for an app if it were paid now, and the best.

Time is played forward with the pack among those held, at the pace of the forecast: a pack is not used alone,
and one that expires early lets others lapse. All in integers.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from metering.catalogue import Offer
from metering.forecast import WEEK, OpenPack, Pace, Projection, days_between, project
from metering.times import DAY_MS

NEW_PACK: Final = ""
"""The id of a pack that is not bought yet; no pack has it."""

AdviceReason = Literal[
    # The price list has no pack of the capability.
    "no_offers",
    # The app has no use yet, and calls are left to begin with.
    "no_history",
    # Less than a week of use is known: what lapses least if there is little.
    "little_history",
    # Nothing is used: every pack would lapse whole.
    "no_use",
    # What is held outlasts every pack on sale.
    "covered",
    # No other pack has so low a cost of a used call.
    "cheapest",
    # Others cost the same for a used call, and are used up earlier.
    "lasts_longest",
]


class OfferOutlook(Struct, frozen=True):
    """A pack on sale, if it were paid now. Always `used + lapsing = offer.calls`.

    Attributes:
        offer: the pack.
        starts_at_ms, expires_at_ms: its validity.
        used: calls that it adds to what is used, at the lower end of the interval of the use.
        lapsing: calls that would lapse because of it, of it or of packs held, at the same pace.
        run_out_ms: the first moment without a call with it; None beyond the horizon.
        earliest_ms, latest_ms: the same at the upper and the lower end of the interval.
        micro_yuan_per_used_call: its price over `used`, rounded up; None if no call would be used.
    """

    offer: Offer
    starts_at_ms: int
    expires_at_ms: int
    used: int
    lapsing: int
    run_out_ms: int | None
    earliest_ms: int | None
    latest_ms: int | None
    micro_yuan_per_used_call: int | None


class PackAdvice(Struct, frozen=True):
    """The advice for one capability of an app.

    Attributes:
        pace: the use that it expects.
        run_out_ms: the first moment without a call if nothing is bought; None beyond the horizon.
        offers: every pack on sale, the best first.
        recommended: the one to buy; None if there is no reason to buy any.
        reason: of the recommendation.
    """

    pace: Pace
    run_out_ms: int | None
    offers: tuple[OfferOutlook, ...]
    recommended: OfferOutlook | None
    reason: AdviceReason


class Holding(NamedTuple):
    """The calls of capabilities that share a trial quota: paces, the quota, and the packs that hold calls."""

    paces: Mapping[str, Pace]
    trial: int
    packs: Mapping[str, Sequence[OpenPack]]

    def with_pack(self, capability: str, pack: OpenPack) -> "Holding":
        """The same with one more pack."""
        packs = {**self.packs, capability: [*self.packs.get(capability, ()), pack]}
        return Holding(self.paces, self.trial, packs)

    def at(self, permille: int) -> "Holding":
        """The same with another level of use."""
        paces = {name: pace.scaled(permille) for name, pace in self.paces.items()}
        return Holding(paces, self.trial, self.packs)

    def projected(self, capability: str, now_ms: int) -> Projection:
        """The projection of one of the capabilities."""
        return project(self.paces, self.trial, self.packs, now_ms)[capability]


def pack_advice(
    holding: Holding, capability: str, catalogue: Sequence[Offer], now_ms: int, billing_start_ms: int = 0
) -> PackAdvice:
    """The advice on a capability. Before billing starts nothing is used, and packs take effect then."""
    begin_ms = max(now_ms, billing_start_ms)
    pace = holding.paces[capability]
    outlooks = [_outlook(holding, offer, begin_ms) for offer in catalogue if offer.capability == capability]
    offers = tuple(sorted(outlooks, key=preference if pace.days >= WEEK else careful_preference))
    left = holding.trial + sum(pack.remaining for pack in holding.packs.get(capability, ()))
    reason = _reason(pace, offers, left)
    recommended = offers[0] if reason in {"little_history", "cheapest", "lasts_longest"} else None
    run_out_ms = holding.projected(capability, begin_ms).run_out_ms
    return PackAdvice(pace, run_out_ms, offers, recommended, reason)


def preference(outlook: OfferOutlook) -> tuple[int, ...]:
    """The place in the order of preference, a total order: cost of a used call, then lapse, then use.

    So no pack comes before one that costs no more for a used call and lets no more calls lapse.
    """
    offer, cost = outlook.offer, outlook.micro_yuan_per_used_call
    return (
        int(cost is None),
        cost or 0,
        outlook.lapsing,
        -outlook.used,
        offer.price_micro_yuan,
        -offer.validity_days,
        offer.calls,
        offer.list_price_micro_yuan,
    )


def careful_preference(outlook: OfferOutlook) -> tuple[int, ...]:
    """The place in the order where less than a week of use is known: lapse first, a total order too."""
    return (outlook.lapsing, *preference(outlook))


def _outlook(holding: Holding, offer: Offer, begin_ms: int) -> OfferOutlook:
    capability = offer.capability
    expires_at_ms = begin_ms + offer.validity_days * DAY_MS
    bought = holding.with_pack(capability, OpenPack(expires_at_ms, begin_ms, NEW_PACK, offer.calls))
    run_out_ms = bought.projected(capability, begin_ms).run_out_ms
    swing = holding.paces[capability].swing_permille(days_between(begin_ms, run_out_ms))
    early = bought.at(1_000 + swing).projected(capability, begin_ms)
    late = bought.at(1_000 - swing).projected(capability, begin_ms)
    # What lapses without it is not its fault.
    held = holding.packs.get(capability)
    without = holding.at(1_000 - swing).projected(capability, begin_ms).lapsing if held else 0
    lapsing = min(offer.calls, max(0, late.lapsing - without))
    used = offer.calls - lapsing
    return OfferOutlook(
        offer,
        begin_ms,
        expires_at_ms,
        used,
        lapsing,
        run_out_ms,
        early.run_out_ms,
        late.run_out_ms,
        -(-offer.price_micro_yuan // used) if used else None,
    )


def _reason(pace: Pace, offers: Sequence[OfferOutlook], left: int) -> AdviceReason:
    if not offers:
        return "no_offers"
    if pace.days < WEEK:
        return "little_history" if pace.micro_calls_a_day or not left else "no_history"
    if not pace.micro_calls_a_day:
        return "no_use"
    cost = offers[0].micro_yuan_per_used_call
    if cost is None:
        return "covered"
    alike = [other for other in offers[1:] if other.micro_yuan_per_used_call == cost]
    return "lasts_longest" if alike else "cheapest"
