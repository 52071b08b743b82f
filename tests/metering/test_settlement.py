"""Settlements worked out (rules 8 and 15): whatever the order of arrival, the figures are those in order."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import event as note
from hypothesis import strategies as st

from metering.rating import rate
from metering.rules import Rules
from tests.metering.books import assert_books
from tests.metering.building import (
    APP,
    NO_TRIAL,
    START_MS,
    Play,
    at,
    purchased,
    refunded,
    succeeded,
    ticked,
)
from tests.metering.facts import END_MS, STEP_MS, arrange, corrected_facts, openings, rules, ticks
from tests.metering.settler import Settler, figures_of, in_effective_order
from tests.metering.test_against_model import model_of, with_times_as_text
from tests.metering.test_properties import assert_balanced

orders = st.integers(0, 2**32).map(Random)
"""Orders of arrival."""


def expected(values: list[bytes], of: Rules) -> dict[str, Any]:
    """The figures of the facts in the order of their effective time."""
    played = Play(of)
    played.on(*in_effective_order(values, of.billing_start_ms), ticked(END_MS))
    if any("assigned_at_ms" in entry.details for entry in played.of("purchase_refused")):
        # A pack that is assigned again is put in its place by a settlement only (rule 16).
        Settler(played).settle()
    return figures_of(played)


def settled_figures(played: Play, values: list[bytes]) -> dict[str, Any]:
    """The figures of a settled log, after the checks that hold for any."""
    for account in played.state.accounts.values():
        assert_balanced(account, played.entries)
    assert_books(values, played.entries)
    return figures_of(played)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(corrected_facts, openings, orders, rules, ticks)
def test_any_order_of_arrival_settles_to_the_figures_of_the_effective_order(
    values: list[bytes], opening: bytes, chance: Random, of: Rules, at: list[tuple[int, int]]
) -> None:
    arrival = list(values)
    chance.shuffle(arrival)
    values.append(opening)
    played = Play(of)
    for value in (opening, *arrange(arrival, at), ticked(END_MS)):
        played.on(value)
    settler = Settler(played)
    rounds = settler.settle()
    note(f"{rounds} rounds")
    assert settled_figures(played, values) == expected(values, of)
    assert played.of("settlement_refused") == []


class TwoSettlers:
    """Two settlers of one log. Each publishes what it read, perhaps late, twice, in part, or never."""

    def __init__(self, of: Rules) -> None:
        self.played = Play(of)
        self._settler = Settler(self.played)
        self._readings: list[list[bytes]] = [[], []]
        self._steps = 0

    def do(self, step: "bytes | tuple[str, int]") -> None:
        """Let a fact arrive, or a settler do something; rule 14 holds after every record."""
        self._steps += 1
        for value in [step] if isinstance(step, bytes) else self._records(*step):
            for entry in self.played.on(value):
                if entry.appid:
                    assert_balanced(self.played.state.accounts[entry.appid], self.played.entries)

    def end(self) -> None:
        self.played.on(ticked(END_MS))
        self._settler.settle()

    def _records(self, action: str, number: int) -> list[bytes]:
        held = self._readings[number]
        if action == "settle":
            self._settler.settle()
            return []
        if action == "tick":
            return [ticked(START_MS + self._steps * STEP_MS)]
        if action == "read":
            self._readings[number] = [
                value
                for appid in self._settler.unsettled()
                for value in self._settler.events(self._settler.read(appid))
            ]
            return []
        if action == "publish":
            self._readings[number] = []
        return held[: len(held) // 2] if action == "publish a part" else held


gaps = st.lists(
    st.tuples(
        st.sampled_from(
            (*[""] * 4, "settle", *["read", "publish"] * 2, "publish again", "publish a part", "tick")
        ),
        st.integers(0, 1),
    ),
    min_size=32,
    max_size=32,
)
"""Between two facts each, something that a settler or the clock does; mostly nothing."""


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(corrected_facts, orders, rules, gaps, st.integers(1, 3))
def test_settlements_between_facts_by_two_settlers_repeated_lost_or_cut_come_to_the_same(
    values: list[bytes], chance: Random, of: Rules, between: list[tuple[str, int]], moves_max: int
) -> None:
    arrival = list(values)
    chance.shuffle(arrival)
    steps = [step for pair in zip(arrival, between, strict=False) for step in pair if step[0] != ""]
    settlers = TwoSettlers(of)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("metering.settlement_events.MOVES_MAX", moves_max)
        for step in steps:
            settlers.do(step)
        settlers.end()
    assert settled_figures(settlers.played, values) == expected(values, of)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(corrected_facts, orders, rules)
def test_the_settled_figures_of_a_file_are_those_of_the_model_for_its_facts_in_order(
    values: list[bytes], chance: Random, of: Rules
) -> None:
    model = model_of(of, in_order=True)
    model.read_all([*in_effective_order(values, of.billing_start_ms), ticked(END_MS)])
    chance.shuffle(values)
    rating = msgspec.to_builtins(rate(values, of, at_ms=END_MS, settled=True))
    assert without_idle_apps(rating) == without_idle_apps(with_times_as_text(model.figures()))


def without_idle_apps(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures without apps that have neither calls nor packs, as those of which all facts are void."""
    for app in figures["apps"].values():
        for capability in ("quick", "realtime"):
            # The facts in order have no corrections.
            del app[capability]["corrected"]
    apps = {
        appid: app
        for appid, app in figures["apps"].items()
        if any(
            app[capability]["succeeded"] or app[capability]["packs"] for capability in ("quick", "realtime")
        )
    }
    return {**figures, "apps": apps}


def test_a_call_between_the_reading_and_its_settlement_is_settled_by_the_next_round() -> None:
    """It was decided while a pack was refunded that turns out not to be."""
    played = Play(NO_TRIAL)
    played.on(purchased(at(1), "P"), refunded(at(3), "P"), succeeded(at(2)))
    settler = Settler(played)
    read = settler.events(settler.read(APP))
    played.on(succeeded(at(4)), *read)
    assert [pack.remaining for pack in played.state.accounts[APP].quick.open] == [9]
    settler.settle()
    assert [pack.remaining for pack in played.state.accounts[APP].quick.open] == [8]


def test_a_pack_recorded_after_a_settlement_gets_the_calls_that_it_made_uncovered() -> None:
    played = Play(NO_TRIAL)
    played.on(purchased(at(1), "P", calls=1), succeeded(at(3), store="b"), succeeded(at(2), store="a"))
    settler = Settler(played)
    settler.settle()
    played.on(purchased(at(9), "late", days=180, paid_at=at(2.5)))
    settler.settle()
    assert [(pack.pack_id, pack.remaining) for pack in played.state.accounts[APP].quick.open] == [("late", 9)]


def test_a_pack_that_a_late_call_used_up_ended_with_its_newest_call() -> None:
    played = Play(NO_TRIAL)
    played.on(purchased(at(1), "P", calls=2), succeeded(at(4)), succeeded(at(2)))
    assert played.of("unsettled") == []
    played.on(succeeded(at(3)))
    assert [entry.reason for entry in played.of("unsettled")] == ["late_call"]
