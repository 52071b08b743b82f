"""Simulated traffic: reproducible, acceptable, and shaped as asked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.event_validation import read_event
from metering.events import AnyEvent, Denied, Failed, Purchased, Refunded, Registered, Succeeded
from metering.exemption import is_exempt
from metering.rejections import Rejection
from metering.times import DAY_MS, HOUR_MS, LATEST_MS, SHANGHAI_OFFSET_MS, parse_time, to_ms
from producers.privacy import find_personal_data
from producers.simulate import Arrival, PlanError, TrafficPlan, simulate
from producers.traffic import slots_of_rate, slots_of_total

START_MS = parse_time("2026-03-02T00:00:00+08:00")
PLAIN: dict[str, Any] = {
    "denied_share": 0.0,
    "failed_share": 0.0,
    "duplicate_share": 0.0,
    "late_share": 0.0,
    "bot_share": 0.0,
    "exempt_share": 0.0,
}


def plan(**changes: Any) -> TrafficPlan:  # noqa: ANN401 - any field of a plan
    defaults: dict[str, Any] = {"start_ms": START_MS, "duration_ms": 7 * DAY_MS, "taps": 3_000}
    return TrafficPlan(**defaults | changes)


def read(arrivals: Iterable[Arrival]) -> list[AnyEvent]:
    events = []
    for arrival in arrivals:
        event = read_event(arrival.value, now_ms=arrival.arrives_ms)
        assert not isinstance(event, Rejection), event
        events.append(event)
    return events


def authorizations(arrivals: Iterable[Arrival]) -> list[Succeeded | Denied | Failed]:
    return [event for event in read(arrivals) if isinstance(event, Succeeded | Denied | Failed)]


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert list(simulate(plan())) == list(simulate(plan()))


def test_another_seed_gives_other_events() -> None:
    assert list(simulate(plan(seed=1))) != list(simulate(plan(seed=2)))


SHARES = (
    *("denied_share", "failed_share", "realtime_share", "duplicate_share", "late_share"),
    *("exempt_share", "careless_share", "oversize_share", "refund_share"),
)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(),
    apps=st.integers(1, 30),
    skew=st.floats(0, 3),
    shares=st.fixed_dictionaries(dict.fromkeys(SHARES, st.floats(0, 0.5))),
    days=st.integers(1, 40),
)
def test_every_event_is_acceptable_and_the_log_is_in_order(
    seed: int, apps: int, skew: float, shares: dict[str, float], days: int
) -> None:
    arrivals = list(
        simulate(plan(seed=seed, apps=apps, skew=skew, duration_ms=days * DAY_MS, taps=300, **shares))
    )
    read(arrivals)
    assert [find_personal_data(arrival.value) for arrival in arrivals] == [None] * len(arrivals)
    times = [arrival.arrives_ms for arrival in arrivals]
    assert times == sorted(times)
    assert times[0] >= START_MS
    assert times[-1] < START_MS + days * DAY_MS


def test_the_number_of_taps_is_exact() -> None:
    assert len(authorizations(simulate(plan(taps=1_234, **PLAIN)))) == 1_234


def test_a_rate_without_an_end_goes_on_until_its_taps_are_used_up() -> None:
    endless = simulate(TrafficPlan(start_ms=START_MS, rate_per_s=5.0, **PLAIN))
    assert len(list(islice(endless, 5_000))) == 5_000
    counted = simulate(TrafficPlan(start_ms=START_MS, rate_per_s=5.0, taps=700, **PLAIN))
    assert len(authorizations(counted)) == 700


def test_a_rate_is_the_mean_of_a_week() -> None:
    taps = sum(slot.taps for slot in slots_of_rate(START_MS, 7 * DAY_MS, 2_000_000))
    assert taps == 2 * 7 * 86_400


@given(st.integers(0, 5_000), st.integers(1, 3 * DAY_MS))
def test_a_total_is_spread_without_losing_a_tap(taps: int, duration_ms: int) -> None:
    slots = list(slots_of_total(START_MS, duration_ms, taps))
    assert sum(slot.taps for slot in slots) == taps
    assert sum(slot.length_ms for slot in slots) == duration_ms


def test_evenings_are_busier_than_nights_in_shanghai() -> None:
    hours = Counter(
        (to_ms(event.time) + SHANGHAI_OFFSET_MS) // HOUR_MS % 24
        for event in authorizations(simulate(plan(**PLAIN)))
    )
    assert hours[19] > 10 * hours[3]


def test_saturdays_are_busier_than_tuesdays() -> None:
    days = Counter(
        (to_ms(event.time) - START_MS) // DAY_MS for event in authorizations(simulate(plan(**PLAIN)))
    )
    assert days[5] > days[1]


def test_the_first_app_has_the_most_traffic_unless_all_are_alike() -> None:
    skewed = Counter(event.subject for event in authorizations(simulate(plan(skew=1.5, **PLAIN))))
    alike = Counter(event.subject for event in authorizations(simulate(plan(skew=0.0, **PLAIN))))
    assert max(skewed.values()) > 10 * min(skewed.values())
    assert max(alike.values()) < 2 * min(alike.values())


def test_duplicates_are_the_same_bytes_again() -> None:
    values = Counter(arrival.value for arrival in simulate(plan(**PLAIN | {"duplicate_share": 0.2})))
    assert 400 < sum(count - 1 for count in values.values()) < 800


def test_late_events_reach_the_log_minutes_to_days_after_their_time() -> None:
    delays = [
        arrival.arrives_ms - to_ms(event.time)
        for arrival, event in (
            (arrival, read([arrival])[0]) for arrival in simulate(plan(**PLAIN | {"late_share": 0.2}))
        )
        if isinstance(event, Succeeded) and arrival.arrives_ms > to_ms(event.time)
    ]
    assert 400 < len(delays) < 800
    assert min(delays) >= 60_000
    assert max(delays) > DAY_MS


def test_a_bot_drains_one_app_through_one_client() -> None:
    events = authorizations(simulate(plan(**PLAIN | {"bot_share": 0.5})))
    (_, taps), *_ = Counter((event.subject, event.data.client) for event in events).most_common()
    assert taps >= 100


def test_outcomes_and_capabilities_have_their_shares() -> None:
    events = authorizations(
        simulate(plan(**PLAIN | {"denied_share": 0.3, "failed_share": 0.1, "apps": 1, "skew": 0.0}))
    )
    kinds = Counter(type(event) for event in events)
    assert 800 < kinds[Denied] < 1_000
    assert 200 < kinds[Failed] < 500
    assert {event.data.capability for event in events} == {"quick", "realtime"}


def test_owners_buy_packs_before_they_run_out() -> None:
    events = read(simulate(plan(apps=1, taps=20_000, careless_share=0.0, **PLAIN)))
    bought = sum(event.data.calls for event in events if isinstance(event, Purchased))
    used = sum(isinstance(event, Succeeded) for event in events)
    assert bought + 1_000 > used > 19_000


def test_a_careless_owner_is_refused_by_the_platform_for_a_while() -> None:
    events = read(simulate(plan(apps=1, taps=20_000, careless_share=1.0, **PLAIN)))
    refused = [event for event in events if isinstance(event, Failed)]
    assert {event.data.errno for event in refused} == {1_400_001}


def test_without_purchases_nobody_buys() -> None:
    events = read(simulate(plan(apps=2, taps=5_000, purchases=False)))
    assert not any(isinstance(event, Purchased) for event in events)


def test_a_pack_bought_twice_by_mistake_is_given_back() -> None:
    events = read(simulate(plan(apps=1, taps=20_000, refund_share=1.0, duration_ms=60 * DAY_MS, **PLAIN)))
    bought = {event.data.pack_id for event in events if isinstance(event, Purchased)}
    refunded = {event.data.pack_id for event in events if isinstance(event, Refunded)}
    assert refunded
    assert refunded < bought


def test_exempt_owners_are_registered_as_such_and_buy_nothing() -> None:
    events = read(simulate(plan(apps=5, taps=20_000, **PLAIN | {"exempt_share": 1.0})))
    registered = [event for event in events if isinstance(event, Registered)]
    assert len(registered) == 5
    assert all(is_exempt(event.data.entity_type, event.data.category) for event in registered)
    assert not any(isinstance(event, Purchased) for event in events)


def test_before_billing_starts_nothing_is_used_up() -> None:
    before = parse_time("2023-03-01T00:00:00+08:00")
    events = read(simulate(plan(start_ms=before, apps=1, taps=5_000, **PLAIN)))
    assert not any(isinstance(event, Purchased | Failed) for event in events)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"apps": 0}, "apps is 0; from 1 to"),
        ({"late_share": 1.5}, "late_share is 1.5; a share is from 0 to 1"),
        ({"denied_share": 0.6, "failed_share": 0.6}, "denied_share and failed_share together exceed 1"),
        ({"skew": -1.0}, "skew is -1.0"),
        ({"duration_ms": 0}, "duration_ms has to be more than nothing"),
        ({"taps": -1}, "taps is -1"),
        ({"taps": None}, "rate_per_s has to be given, or"),
        ({"rate_per_s": 0.0}, "rate_per_s is 0.0"),
        ({"start_ms": -1}, "start_ms has to keep the whole period within 2017-01-01"),
        ({"start_ms": LATEST_MS - 1}, "start_ms has to keep the whole period within 2017-01-01"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError, match=f"^{sentence}") as refused:
        plan(**wrong)
    assert str(refused.value) == f"{' and '.join(refused.value.fields)} {refused.value.complaint}"
    assert set(refused.value.fields) <= {field.name for field in fields(TrafficPlan)}
