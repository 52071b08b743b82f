"""The advice on packs: what each would do, and the best of them."""

from collections.abc import Sequence
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.catalogue import DEFAULT, Offer
from metering.forecast import MICRO, WEEK, OpenPack, Pace, pace_of
from metering.money import MICRO_YUAN
from metering.pack_advice import (
    Holding,
    OfferOutlook,
    PackAdvice,
    careful_preference,
    pack_advice,
    preference,
)
from metering.times import DAY_MS, SHANGHAI_OFFSET_MS, format_time

MONDAY = 19_723
"""2024-01-01 in Shanghai."""

NOW_MS = MONDAY * DAY_MS - SHANGHAI_OFFSET_MS
FLAT = (1_000,) * WEEK
TEN_A_DAY = Pace(10 * MICRO, FLAT, 56, 0)


def held(name: str, remaining: int, expires_day: int, starts_day: int = -30) -> OpenPack:
    return OpenPack(NOW_MS + expires_day * DAY_MS, NOW_MS + starts_day * DAY_MS, name, remaining)


def advice(
    pace: Pace = TEN_A_DAY,
    packs: Sequence[OpenPack] = (),
    trial: int = 0,
    catalogue: Sequence[Offer] = DEFAULT,
    billing_start_ms: int = 0,
) -> PackAdvice:
    holding = Holding({"quick": pace}, trial, {"quick": packs})
    return pack_advice(holding, "quick", catalogue, NOW_MS, billing_start_ms)


def offer(calls: int, days: int = 365, yuan: int = 30) -> Offer:
    return Offer("quick", calls, days, yuan * MICRO_YUAN, yuan * MICRO_YUAN)


def of_calls(found: PackAdvice, calls: int) -> tuple[int, int, int | None]:
    (one,) = (one for one in found.offers if one.offer.calls == calls)
    return one.used, one.lapsing, one.micro_yuan_per_used_call


def recommended_calls(found: PackAdvice) -> int:
    assert found.recommended is not None
    return found.recommended.offer.calls


def test_what_is_not_used_before_the_expiry_makes_the_used_calls_dear() -> None:
    found = advice()
    assert of_calls(found, 250) == (250, 0, 30_000)
    assert of_calls(found, 1_000) == (1_000, 0, 30_000)
    assert of_calls(found, 5_000) == (3_650, 1_350, -(-150 * MICRO_YUAN // 3_650))


def test_of_packs_that_cost_the_same_for_a_used_call_the_one_that_lasts_longest_is_recommended() -> None:
    found = advice()
    assert (recommended_calls(found), found.reason) == (1_000, "lasts_longest")
    assert found.recommended is not None
    assert found.recommended.run_out_ms == NOW_MS + 100 * DAY_MS


def test_a_discount_is_recommended_once_enough_of_the_pack_is_used() -> None:
    found = advice(Pace(100_000 * MICRO, FLAT, 56, 0))
    assert (recommended_calls(found), found.reason) == (10_000_000, "cheapest")


def test_a_pack_is_judged_beside_those_that_are_held() -> None:
    """A pack of 90 days goes before one that expires later, of which more lapses then."""
    found = advice(packs=[held("year", 3_650, 365)])
    assert of_calls(found, 250) == (0, 250, None)
    assert (found.recommended, found.reason) == (None, "covered")
    some = advice(packs=[held("year", 3_550, 365)])
    assert of_calls(some, 250) == (100, 150, 7_500_000 // 100)


def test_uneven_use_is_judged_at_its_lower_end_and_told_with_the_interval() -> None:
    calm, wild = advice(), advice(Pace(10 * MICRO, FLAT, 56, 20 * MICRO))
    assert of_calls(wild, 5_000)[0] < of_calls(calm, 5_000)[0]
    one = wild.offers[0]
    assert one.earliest_ms is not None
    assert one.run_out_ms is not None
    assert one.latest_ms is not None
    assert one.earliest_ms < one.run_out_ms < one.latest_ms


def test_a_pack_paid_before_billing_starts_takes_effect_then_and_nothing_is_used_until_then() -> None:
    start_ms = NOW_MS + 40 * DAY_MS
    one = advice(billing_start_ms=start_ms).offers[0]
    assert (one.starts_at_ms, one.expires_at_ms) == (start_ms, start_ms + 365 * DAY_MS)
    assert one.run_out_ms == start_ms + 100 * DAY_MS
    assert advice(trial=100, billing_start_ms=start_ms).run_out_ms == start_ms + 10 * DAY_MS


def test_an_app_without_use_is_advised_to_buy_nothing() -> None:
    found = advice(pace_of([0] * 30, MONDAY - 1), trial=0)
    assert (found.recommended, found.reason, found.run_out_ms) == (None, "no_use", None)
    assert {one.used for one in found.offers} == {0}


def test_a_new_app_begins_with_what_it_has_and_else_with_the_smallest_pack() -> None:
    new = pace_of([], MONDAY - 1)
    assert (advice(new, trial=1_000).recommended, advice(new, trial=1_000).reason) == (None, "no_history")
    found = advice(new)
    assert (recommended_calls(found), found.reason) == (250, "little_history")


def test_the_first_days_of_an_app_are_taken_with_care() -> None:
    few, many = advice(pace_of([3, 1], MONDAY - 1)), advice(pace_of([10] * 56, MONDAY - 1))
    assert (recommended_calls(few), few.reason) == (250, "little_history")
    assert recommended_calls(many) == 1_000


def test_huge_use_is_advised_in_whole_numbers() -> None:
    found = advice(Pace(10**9 * MICRO, FLAT, 56, 10**8 * MICRO))
    assert recommended_calls(found) == 10_000_000
    assert {one.lapsing for one in found.offers} == {0}
    assert found.recommended is not None
    assert found.recommended.micro_yuan_per_used_call == 27_000


def test_no_pack_is_invented_for_a_capability_without_prices() -> None:
    holding = Holding({"quick": TEN_A_DAY, "realtime": TEN_A_DAY}, 0, {})
    found = pack_advice(holding, "realtime", DEFAULT, NOW_MS)
    assert (found.offers, found.recommended, found.reason) == ((), None, "no_offers")


def test_a_trial_quota_that_both_capabilities_use_goes_first() -> None:
    holding = Holding({"quick": TEN_A_DAY, "realtime": TEN_A_DAY}, 40, {})
    found = pack_advice(holding, "quick", [offer(100)], NOW_MS)
    assert format_time(found.run_out_ms or 0) == format_time(NOW_MS + 2 * DAY_MS)
    assert found.offers[0].run_out_ms == NOW_MS + 12 * DAY_MS


OFFERS = st.lists(
    st.builds(
        Offer,
        st.just("quick"),
        st.integers(1, 100_000),
        st.sampled_from([90, 180, 365]),
        st.integers(0, 10_000).map(lambda yuan: yuan * MICRO_YUAN),
        st.just(0),
    ),
    max_size=5,
    unique=True,
)
PACES = st.lists(st.integers(0, 200), max_size=21).map(lambda daily: pace_of(daily, MONDAY - 1))
PACKS = st.lists(
    st.tuples(st.integers(1, 5_000), st.integers(1, 400)).map(lambda one: held(f"p{one}", *one)),
    max_size=3,
    unique=True,
)


def cost_of(outlook: OfferOutlook) -> float:
    cost = outlook.micro_yuan_per_used_call
    return inf if cost is None else cost


@settings(max_examples=60)
@given(OFFERS, PACES, PACKS, st.integers(0, 1_000))
def test_nothing_is_recommended_that_lapses_more_at_a_higher_cost_than_another(
    offers: list[Offer], pace: Pace, packs: list[OpenPack], trial: int
) -> None:
    found = advice(pace, packs, trial, offers)
    assert len(found.offers) == len(offers)
    for one in found.offers:
        assert one.used + one.lapsing == one.offer.calls
        assert 0 <= one.lapsing <= one.offer.calls
        assert (one.micro_yuan_per_used_call is None) == (one.used == 0)
    best = found.recommended
    if best is None:
        assert found.reason in {"no_offers", "no_history", "no_use", "covered"}
        return
    cost = cost_of(best)
    for one in found.offers:
        assert not (cost_of(one) <= cost and one.lapsing < best.lapsing)
        assert not (cost_of(one) < cost and one.lapsing <= best.lapsing)
        if found.reason != "little_history":
            assert cost <= cost_of(one)


@settings(max_examples=40)
@given(OFFERS, PACES, st.randoms(use_true_random=False))
def test_the_order_of_the_offers_is_total_whatever_the_order_of_the_catalogue(
    offers: list[Offer], pace: Pace, chance: object
) -> None:
    shuffled = list(offers)
    chance.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a random.Random
    one, other = advice(pace, catalogue=offers), advice(pace, catalogue=shuffled)
    assert one == other
    order = preference if pace.days >= WEEK else careful_preference
    keys = [order(each) for each in one.offers]
    assert keys == sorted(set(keys))
