"""The sentences by which the advice on packs explains itself, in the language of the reader."""

from collections.abc import Mapping
from typing import Final

from dashboards.console.languages import Wording, marked
from metering.pack_advice import AdviceReason, OfferOutlook, PackAdvice
from metering.times import DAY_MS

UNIT_PLACES: Final = 3
"""Decimal places of the cost of a call."""

NO_HURRY_MS: Final = 30 * DAY_MS
"""Time until the calls run out from which on a pack may be bought later."""

REASONS: Final[Mapping[AdviceReason, str]] = {
    "no_offers": marked(
        "The price list has no pack of this capability, whose prices are not published. Look it up at "
        "WeChat, and record below what is bought there."
    ),
    "no_history": marked(
        "Less than a week of use is known, and calls are left: begin with these, and the advice follows."
    ),
    "little_history": marked(
        "Less than a week of use is known: of this pack the fewest calls lapse if there is little use."
    ),
    "no_use": marked("There was no call in the last %(days)s days: each pack would lapse unused."),
    "covered": marked(
        "What is left lasts beyond the expiry of each pack on sale: bought now, it would lapse unused."
    ),
    "cheapest": marked("A call that will be used costs %(cost)s with it, less than with any other pack."),
    "lasts_longest": marked(
        "A call that will be used costs %(cost)s with it; no other pack costs less, and of those that cost "
        "the same it lasts longest."
    ),
}


def advice_sentences(advice: PackAdvice, wording: Wording, now_ms: int) -> list[str]:
    """The sentences: the reason, then what comes of it, then what speaks against the next larger pack."""
    best = advice.recommended
    values: dict[str, object] = {"days": wording.number(advice.pace.days)}
    if best is not None:
        values["cost"] = _unit_cost(best, wording)
    told = [_filled(wording, REASONS[advice.reason], values)]
    if best is None:
        return told
    told += _lapse(best, wording)
    told += _run_out(best, wording)
    told += _larger(advice, best, wording)
    if advice.run_out_ms is not None and advice.run_out_ms >= now_ms + NO_HURRY_MS:
        told.append(
            wording.text(
                "There is no hurry: what is left lasts until %(when)s, and validity begins at the payment.",
                when=wording.day(advice.run_out_ms),
            )
        )
    return told


def effect_sentence(now_ms: int, billing_start_ms: int, wording: Wording) -> str:
    """The sentence on when a pack takes effect that is paid now (rule 6)."""
    if billing_start_ms > now_ms:
        return wording.text(
            "Takes effect at %(when)s after the payment.", when=wording.minute(billing_start_ms)
        )
    return wording.text("Takes effect at once after the payment.")


def _lapse(best: OfferOutlook, wording: Wording) -> list[str]:
    if not best.lapsing or not best.used:
        return []
    sentence = wording.text(
        "If use is low, about %(calls)s calls lapse; that is reckoned in.", calls=wording.number(best.lapsing)
    )
    return [sentence]


def _run_out(best: OfferOutlook, wording: Wording) -> list[str]:
    if best.run_out_ms is None:
        return []
    if best.earliest_ms is None or best.latest_ms is None or best.earliest_ms == best.latest_ms:
        return [wording.text("With it, calls last until %(when)s.", when=wording.day(best.run_out_ms))]
    sentence = wording.text(
        "With it, calls last until %(when)s (at the earliest %(earliest)s, at the latest %(latest)s).",
        when=wording.day(best.run_out_ms),
        earliest=wording.day(best.earliest_ms),
        latest=wording.day(best.latest_ms),
    )
    return [sentence]


def _larger(advice: PackAdvice, best: OfferOutlook, wording: Wording) -> list[str]:
    larger = [one for one in advice.offers if one.offer.calls > best.offer.calls]
    if not larger:
        return []
    following = min(larger, key=lambda one: (one.offer.calls, one.offer.price_micro_yuan))
    if following.micro_yuan_per_used_call is None or not following.lapsing:
        return []
    sentence = wording.text(
        "With the next larger pack, of %(calls)s calls, about %(lapsing)s would lapse, and a used call would "
        "cost %(cost)s.",
        calls=wording.number(following.offer.calls),
        lapsing=wording.number(following.lapsing),
        cost=_unit_cost(following, wording),
    )
    return [sentence]


def _unit_cost(outlook: OfferOutlook, wording: Wording) -> str:
    return wording.money(outlook.micro_yuan_per_used_call or 0, UNIT_PLACES)


def _filled(wording: Wording, text: str, values: Mapping[str, object]) -> str:
    named = {name: value for name, value in values.items() if f"%({name})s" in text}
    return wording.text(text, **named)
