"""Every alert exactly once: the rules against the second reading of them, on logs that Hypothesis finds."""

import json
import random
from collections import Counter
from dataclasses import asdict

import pytest
from hypothesis import given, settings

from metering.rules import Rules
from tests.metering.alert_model import Alert, AlertModel
from tests.metering.building import HOUR_MS, Play, alerting_set, at, purchased, succeeded
from tests.metering.logs import Log, logs
from tests.metering.test_simulation import RULES, traffic


def alert_model_of(rules: Rules) -> AlertModel:
    """The model, with the thresholds of the rules."""
    parameters = asdict(rules)
    model = ("billing_start_ms", "trial_calls", "trial_scope", "allowed_lateness_ms", "duplicate_window_ms")
    alerting = {
        "levels_percent": list(rules.alert_levels_percent),
        "expiry_days": list(rules.alert_expiry_days),
    } | {name: parameters[name] for name in parameters if name.startswith(("run_out_", "burn_"))}
    return AlertModel(alerting=alerting, **{name: parameters[name] for name in model})


def alerts_of(played: Play) -> list[Alert]:
    return [
        Alert(
            entry.appid,
            entry.capability,
            entry.kind,
            entry.reason,
            entry.time_ms,
            entry.remaining,
            entry.pack_id,
            tuple(sorted(json.loads(entry.details).items())),
        )
        for entry in played.of("alert", "recovery")
    ]


def compared(values: list[bytes], rules: Rules) -> list[Alert]:
    """Play a log and hold its alerts against those of the model."""
    model = alert_model_of(rules)
    model.read_all(values)
    played = Play(rules)
    played.on(*values)
    return same(played, model)


def compared_as_it_arrived(log: list[tuple[int, bytes]], rules: Rules) -> list[Alert]:
    """The same of a log with the broker's times."""
    model = alert_model_of(rules)
    for place, (arrived, value) in enumerate(log):
        model.read(place, value, arrived)
    played = Play(rules)
    played.arriving(*log)
    return same(played, model)


def same(played: Play, model: AlertModel) -> list[Alert]:
    wanted, found = model.finish(), alerts_of(played)
    assert Counter(found) == Counter(wanted)
    return found


@given(logs)
def test_the_alerts_are_those_of_the_model(log: Log) -> None:
    compared(log.values, log.rules)


def test_the_logs_meet_every_kind_of_alert_but_burn() -> None:
    seen: Counter[tuple[str, str]] = Counter()

    @settings(max_examples=100)
    @given(logs)
    def collect(log: Log) -> None:
        played = Play(log.rules)
        played.on(*log.values)
        seen.update((alert.kind, alert.reason) for alert in alerts_of(played))

    collect()
    assert seen.keys() >= {
        ("alert", "level"),
        ("recovery", "level"),
        ("alert", "expiry"),
        ("alert", "run_out"),
        ("recovery", "run_out"),
        ("alert", "uncovered"),
        ("recovery", "uncovered"),
    }


def test_half_a_year_of_traffic_gives_the_alerts_of_the_model() -> None:
    found = compared(traffic(7), RULES)
    assert {alert.reason for alert in found} >= {"level", "expiry", "run_out", "uncovered"}


def bursts(seed: int) -> list[tuple[int, bytes]]:
    """A month of quiet and busy minutes, of many clients and of a few that come again, by when they arrived.

    Some calls arrive late, and some are told by clocks that are up to an hour ahead.
    """
    chance = random.Random(seed)  # noqa: S311 - a seeded simulation
    log = [(at(0), purchased(at(0), "pack", calls=5_000_000, days=60))]
    now_ms = at(0)
    while now_ms < at(31):
        now_ms += chance.randrange(chance.choice((20, 300_000, 7_200_000, 40_000_000)))
        busy = chance.choice((1, 1, 2, 5, 20, 60))
        bots = chance.choice((1, 2, 12))
        for _ in range(busy):
            now_ms += chance.randrange(4_000)
            late_ms = chance.randrange(-HOUR_MS, 90 * 60_000) if chance.random() < 0.1 else 0
            client = f"bot-{chance.randrange(bots)}" if chance.random() < 0.7 else f"{chance.random()}"
            log.append((now_ms, succeeded(now_ms - late_ms, client=client)))
        if chance.random() < 0.02:
            limits = {
                "burn_minute_calls": chance.choice((0, 3, 9)),
                "burn_percent": chance.choice((100, 250)),
            }
            log.append((now_ms, alerting_set(now_ms, **limits)))
    return log


BURST_RULES = Rules(trial_calls=3, burn_minute_calls=6, burn_client_calls=4)


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_a_month_of_bursts_gives_the_alerts_of_the_model(seed: int) -> None:
    found = compared_as_it_arrived(bursts(seed), BURST_RULES)
    reasons = Counter(alert.reason for alert in found)
    assert min(reasons["minute_burn"], reasons["client_burn"]) > 0


def test_a_month_of_bursts_without_arrivals_gives_the_alerts_of_the_model() -> None:
    found = compared([value for _, value in bursts(1)], BURST_RULES)
    reasons = Counter(alert.reason for alert in found)
    assert min(reasons["minute_burn"], reasons["client_burn"]) > 0
