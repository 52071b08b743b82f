"""Every alert exactly once: the rules against the independent model, on logs that Hypothesis generates.

Rules 13 and 18.
"""

import json
import random
from collections import Counter
from dataclasses import asdict
from typing import Any, Final

import pytest
from hypothesis import given

from metering.rules import Rules
from tests.metering.alert_model import Alert, AlertModel
from tests.metering.building import HOUR_MS, Play, alerting_set, at, failed, purchased, succeeded, ticked
from tests.metering.logs import CHUNK_IDS, Log, logs, not_met
from tests.metering.test_simulation import RULES, traffic

pytestmark = pytest.mark.usefixtures("small_chunks")


def alert_model_of(rules: Rules) -> AlertModel:
    """The model, with the thresholds of the rules."""
    parameters = asdict(rules)
    model = (
        "billing_start_ms",
        "trial_calls",
        "trial_scope",
        "allowed_lateness_ms",
        "duplicate_window_ms",
        "remembered_ids_max",
    )
    alerting = {
        "levels_percent": list(rules.alert_levels_percent),
        "expiry_days": list(rules.alert_expiry_days),
    } | {name: parameters[name] for name in parameters if name.startswith(("run_out_", "burn_"))}
    return AlertModel(
        alerting=alerting,
        refusal_quiet_ms=rules.refusal_quiet_ms,
        chunk_ids=CHUNK_IDS,
        **{name: parameters[name] for name in model},
    )


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
    """Meter a log and compare its alerts with those of the model."""
    model = alert_model_of(rules)
    model.read_all(values)
    played = Play(rules)
    played.on(*values)
    return same(played, model)


def compared_as_it_arrived(log: list[tuple[int, bytes]], rules: Rules) -> list[Alert]:
    """The same for a log with the broker's times."""
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


EXPECTED_ALERTS: Final = {
    ("alert", "level"),
    ("recovery", "level"),
    ("alert", "expiry"),
    ("alert", "run_out"),
    ("recovery", "run_out"),
    ("alert", "uncovered"),
    ("recovery", "uncovered"),
    ("alert", "refused"),
    ("recovery", "refused"),
}


def test_the_logs_meet_every_kind_of_alert_but_burn() -> None:
    def kinds_of(log: Log) -> list[tuple[str, str]]:
        played = Play(log.rules)
        played.on(*log.values)
        return [(alert.kind, alert.reason) for alert in alerts_of(played)]

    assert not not_met(EXPECTED_ALERTS, kinds_of)


def test_half_a_year_of_traffic_gives_the_alerts_of_the_model() -> None:
    found = compared(traffic(7), RULES)
    assert {alert.reason for alert in found} >= {"level", "expiry", "run_out", "uncovered"}


def bursts(seed: int) -> list[tuple[int, bytes]]:
    """A month of quiet and busy minutes with new and recurring clients, in order of arrival.

    Some calls arrive late, and some clocks are up to an hour ahead.
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
            limits: dict[str, Any] = {
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


def taps(seed: int) -> list[tuple[int, bytes]]:
    """Hours in which the platform grants some taps and refuses others, in order of arrival.

    Many arrive late, some clocks are ahead, and a pack starts now and then.
    """
    chance = random.Random(seed)  # noqa: S311 - a seeded simulation
    log: list[tuple[int, bytes]] = []
    now_ms = at(0)
    for number in range(1_500):
        now_ms += chance.randrange(chance.choice((100, 10_000, 60_000, 400_000)))
        late_ms = chance.choice((0, 0, 0, 1, 1_000, 30_000, 600_000, 7_200_000, -1_000, -HOUR_MS + 1))
        time_ms = now_ms - late_ms
        if chance.random() < 0.02:
            event = purchased(
                time_ms, f"pack-{number}", starts_at=now_ms + chance.randrange(-HOUR_MS, HOUR_MS)
            )
        elif chance.random() < 0.1:
            event = ticked(now_ms)
        else:
            event = chance.choice((failed, succeeded))(
                time_ms, capability=chance.choice(("quick", "realtime"))
            )
        log.append((now_ms, event))
    return log


@pytest.mark.parametrize("seed", range(20))
def test_taps_of_which_some_are_refused_give_the_alerts_of_the_model(seed: int) -> None:
    found = compared_as_it_arrived(taps(seed), Rules(refusal_quiet_ms=20_000))
    told = Counter((alert.kind, alert.reason) for alert in found)
    assert min(told["alert", "refused"], told["recovery", "refused"]) > 10


def test_a_month_of_bursts_without_arrivals_gives_the_alerts_of_the_model() -> None:
    found = compared([value for _, value in bursts(1)], BURST_RULES)
    reasons = Counter(alert.reason for alert in found)
    assert min(reasons["minute_burn"], reasons["client_burn"]) > 0
