"""Money in micro-yuan (rule 11)."""

from hypothesis import given
from hypothesis import strategies as st

from metering import catalogue
from metering.money import MICRO_YUAN, cost_of_call, cost_of_first

prices = st.integers(0, 10**15)
sizes = st.integers(1, 2_000)


@given(prices, sizes)
def test_a_fully_used_pack_costs_exactly_its_price(price: int, size: int) -> None:
    costs = [cost_of_call(ordinal, price_micro_yuan=price, size=size) for ordinal in range(1, size + 1)]
    assert sum(costs) == price
    assert max(costs) - min(costs) <= 1


@given(prices, st.integers(1, 10_000_000), st.data())
def test_the_first_calls_cost_what_they_cost_one_by_one(price: int, size: int, data: st.DataObject) -> None:
    ordinal = data.draw(st.integers(1, size))
    before, after = (
        cost_of_first(calls, price_micro_yuan=price, size=size) for calls in (ordinal - 1, ordinal)
    )
    assert after - before == cost_of_call(ordinal, price_micro_yuan=price, size=size) >= 0


def test_three_calls_for_ten_micro_yuan_cost_3_3_and_4() -> None:
    assert [cost_of_call(ordinal, price_micro_yuan=10, size=3) for ordinal in (1, 2, 3)] == [3, 3, 4]


def test_a_pack_of_one_call_costs_its_price_at_once() -> None:
    assert cost_of_call(1, price_micro_yuan=7, size=1) == 7


def test_a_pack_that_was_given_away_costs_nothing() -> None:
    assert cost_of_call(3, price_micro_yuan=0, size=250) == 0


def test_the_default_prices_are_those_of_the_notice() -> None:
    assert {offer.calls: offer.price_micro_yuan / MICRO_YUAN for offer in catalogue.DEFAULT} == {
        250: 7.5,
        1_000: 30,
        5_000: 150,
        10_000: 300,
        50_000: 1_500,
        100_000: 3_000,
        500_000: 15_000,
        1_000_000: 28_000,
        5_000_000: 140_000,
        10_000_000: 270_000,
    }
    assert {offer.validity_days for offer in catalogue.DEFAULT if offer.calls != 250} == {365}
    assert [offer.validity_days for offer in catalogue.DEFAULT if offer.calls == 250] == [90]


def test_the_listed_price_differs_only_where_there_is_a_discount() -> None:
    discounted = {
        o.calls: o.list_price_micro_yuan // MICRO_YUAN
        for o in catalogue.DEFAULT
        if o.list_price_micro_yuan != o.price_micro_yuan
    }
    assert discounted == {1_000_000: 30_000, 5_000_000: 150_000, 10_000_000: 300_000}
