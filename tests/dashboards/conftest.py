"""A ledger in the real engine for the views, Grafana's queries and the examples of the documentation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from metering.ledger import Entry
from metering.times import DAY_MS
from tests.real_parts import starts_real_parts
from tests.sinks.parts import START_MS, EngineProcess, lines, purchase
from tools.pictures.half_year import simulated_entries
from tools.pictures.half_year_engine import create_ledger, store_entries

DELIVERY_STATES = """
INSERT INTO delivery_states
    (appid, alert_id, route, channel, state, attempts, asked_at, changed_at, outcome, log_offset)
VALUES
    ('wx1', '0-1000003-0', 'owner', 'wecom', 'waiting', 1, '2024-07-11', '2024-07-11 00:00:02', 'busy', 1),
    ('wx1', '0-1000003-0', 'owner', 'wecom', 'delivered', 2, '2024-07-11', '2024-07-11 00:00:09', '', 2),
    ('wx1', '0-1000004-0', 'owner', 'wecom', 'dead', 21, '2024-07-11', '2024-07-12', 'busy', 3)
"""
"""Deliveries of two alerts of `some_of_everything`; no route wanted the others."""


@dataclass
class Ledger:
    """The engine with the views, and what its ledger holds."""

    engine: EngineProcess
    entries: list[Entry]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.query(sql)

    def replace(self, entries: list[Entry]) -> None:
        """Have the ledger hold these lines only, all of source partition 0."""
        self.query("TRUNCATE TABLE ledger")
        self.entries = entries
        store_entries(self.engine.url, entries)


def some_of_everything() -> list[Entry]:
    """Lines of every kind: calls, packs that burn, ended or were given back, alerts, a rejection."""
    late = START_MS + 40 * DAY_MS
    entries = [
        Entry(0, 0, "trial_grant", START_MS, START_MS, "wx1", calls=1_000, remaining=1_000),
        purchase("wx1", "p1", 1),
        purchase("wx1", "p2", 2),
        purchase("wx1", "p3", 3, starts_at_ms=START_MS - 90 * DAY_MS),
        purchase("wx1", "p4", 4),
        purchase("wx1", "p5", 5, calls=1),
        *lines(3_000, seed=1, first=100),
    ]
    tail: list[dict[str, Any]] = [
        {"kind": "lapse", "pack_id": "p3", "calls": 250, "amount_micro_yuan": 7_500_000, "time_ms": START_MS},
        {"kind": "refund", "pack_id": "p4", "calls": 250, "amount_micro_yuan": 7_500_000},
        {"kind": "charge", "pack_id": "p5", "calls": 1, "amount_micro_yuan": 30_000, "event_id": "last"},
        {"kind": "alert", "reason": "level", "remaining": 50, "details": '{"level_percent":20,"size":250}'},
        {"kind": "alert", "reason": "expiry", "pack_id": "p1", "remaining": 50, "details": '{"days":7}'},
        {"kind": "alert", "reason": "run_out", "remaining": 50, "details": '{"hours_left":30}'},
        {
            "kind": "recovery",
            "reason": "level",
            "remaining": 90,
            "details": '{"level_percent":20,"size":500}',
        },
        {"kind": "uncovered", "calls": 1, "event_id": "taken", "reason": "no_pack"},
        {"kind": "uncovered", "calls": -1, "event_id": "taken", "reason": "taken_over"},
        {"kind": "charge", "calls": 1, "event_id": "taken", "reason": "taken_over", "pack_id": "p1"},
        {"kind": "uncovered", "calls": 1, "event_id": "too-late", "reason": "too_late"},
        {"kind": "rejection", "appid": "", "reason": "bad_json", "details": '{"sentence":"no JSON"}'},
        {"kind": "alert", "reason": "uncovered", "details": '{"why":"no_pack"}'},
        {"kind": "alert", "reason": "client_burn", "details": '{"calls":30,"client":"c1","usual":2}'},
    ]
    for offset, fields in enumerate(tail, start=1_000_000):
        common: dict[str, Any] = {
            "time_ms": late,
            "recorded_at_ms": late,
            "appid": "wx1",
            "capability": "quick",
        }
        entries.append(Entry(offset, 0, **(common | fields)))
    return entries


@pytest.fixture(scope="package")
@starts_real_parts
def ledger(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Ledger]:
    """An engine whose ledger holds `some_of_everything`."""
    with EngineProcess(tmp_path_factory.mktemp("engine"), free_port(), free_port()) as engine:
        create_ledger(engine.url)
        engine.query(DELIVERY_STATES)
        ledger = Ledger(engine, [])
        ledger.replace(some_of_everything())
        yield ledger


@pytest.fixture
def kept(ledger: Ledger) -> Iterator[Ledger]:
    """The ledger, of which other tests have the lines that they expect."""
    yield ledger
    ledger.replace(some_of_everything())


@pytest.fixture(scope="module")
def simulated(ledger: Ledger) -> Iterator[Ledger]:
    """The same engine, for a module, with the ledger of a simulated half-year."""
    ledger.replace(list(simulated_entries()))
    yield ledger
    ledger.replace(some_of_everything())
