"""The rules against the independent model, on logs that Hypothesis generates."""

import json
from dataclasses import asdict
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given

from metering.rating import rate
from metering.rules import Rules
from tests.metering.building import Play, text_of
from tests.metering.logs import BROKEN, CHUNK_IDS, Log, logs, moments, not_met
from tests.metering.model import Model, Outcome, ms

pytestmark = pytest.mark.usefixtures("small_chunks")


def model_of(rules: Rules, *, in_order: bool = False) -> Model:
    wanted = (
        "billing_start_ms",
        "trial_calls",
        "trial_scope",
        "allowed_lateness_ms",
        "duplicate_window_ms",
        "remembered_ids_max",
    )
    parameters = asdict(rules)
    return Model(chunk_ids=CHUNK_IDS, in_order=in_order, **{name: parameters[name] for name in wanted})


def with_times_as_text(figures: dict[str, Any]) -> dict[str, Any]:
    for app in figures["apps"].values():
        for capability in ("quick", "realtime"):
            for pack in app[capability]["packs"]:
                pack["starts_at"] = text_of(pack.pop("starts"))
                pack["expires_at"] = text_of(pack.pop("expires"))
    return figures


def outcomes_of(played: Play) -> dict[tuple[str, int], Outcome]:
    """The final outcome of every call, by app and offset."""
    places: dict[tuple[str, str, int], int] = {}
    outcomes: dict[tuple[str, int], Outcome] = {}
    for entry in played.of("charge", "trial_charge", "free", "exempt", "uncovered"):
        call = (entry.appid, entry.event_id, entry.time_ms)
        if entry.reason != "taken_over":
            places[call] = entry.offset
        if entry.calls > 0:
            outcome = Outcome(entry.kind, entry.pack_id, entry.amount_micro_yuan, entry.reason)
            outcomes[entry.appid, places[call]] = outcome
    return outcomes


@given(logs)
def test_the_accounts_are_those_of_the_model(log: Log) -> None:
    model = model_of(log.rules)
    model.read_all(log.values)
    assert msgspec.to_builtins(rate(log.values, log.rules)) == with_times_as_text(model.figures())


@given(logs, moments)
def test_the_accounts_as_of_a_time_are_those_of_the_model(log: Log, at_ms: int) -> None:
    model = model_of(log.rules)
    model.read_all(value for value in log.values if value == BROKEN or ms(json.loads(value)["time"]) <= at_ms)
    model.tick_ms = max(model.tick_ms, at_ms)
    rating = rate(log.values, log.rules, at_ms=at_ms)
    assert msgspec.to_builtins(rating) == with_times_as_text(model.figures())


@given(logs)
def test_every_call_has_the_outcome_that_the_model_gives_it(log: Log) -> None:
    model = model_of(log.rules)
    model.read_all(log.values)
    assert outcomes_of(play_log(log)) == model.outcomes


EXPECTED_OUTCOMES: Final = {
    ("charge", ""),
    ("charge", "taken_over"),
    ("trial_charge", ""),
    ("free", ""),
    ("exempt", ""),
    ("uncovered", "no_pack"),
    ("uncovered", "exhausted"),
    ("uncovered", "too_late"),
    ("duplicate", ""),
    ("denied", ""),
    ("failed", ""),
    ("lapse", ""),
    ("refund", ""),
    ("refund", "used"),
    ("refund", "lapsed"),
    ("refund_refused", "used"),
    ("refund_refused", "lapsed"),
    ("refund_refused", "already_refunded"),
    ("refund_refused", "already_waiting"),
    ("refund_waiting", ""),
    ("purchase_refused", "known_pack"),
    ("opening", "stated"),
    ("opening", "observed"),
    ("opening_refused", "does_not_fit"),
    ("rejection", "not_json"),
    ("rejection", "beyond_horizon"),
    ("alert", "level"),
    ("recovery", "level"),
    ("alert", "expiry"),
}


def test_the_logs_meet_every_outcome_that_the_rules_know() -> None:
    assert not not_met(
        EXPECTED_OUTCOMES, lambda log: ((entry.kind, entry.reason) for entry in play_log(log).entries)
    )


def play_log(log: Log) -> Play:
    played = Play(log.rules)
    played.on(*log.values)
    return played
