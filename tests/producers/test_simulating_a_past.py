"""`phonemeter simulate` into a stack on the clock: as far back as the ledger is still what `rate` says."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from kafka import KafkaProducer

from metering.ledger import CALL_KINDS, Entry
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Clock, Rules, Terms
from metering.times import DAY_MS
from metering.topics import STATE
from phonemeter.cli import simulate as simulate_command
from producers.simulate import TrafficPlan, simulate
from streams.state_log import StateLayout
from tests.conftest import RunningKafka
from tests.metering.building import ticked
from tests.producers import test_commands
from tests.producers.test_commands import Run
from tests.waiting import WITHIN_S

run = test_commands.run


def record(kafka: str, clock: Clock, tick_ms: int = 0) -> None:
    """The record that a worker leaves on the state topic as it takes over, or once it has metered a tick."""
    state = PartitionState(0, next_offset=1 if tick_ms else 0, tick_ms=tick_ms)
    header = StateLayout(1, terms=Terms(rules=Rules(), clock=clock)).header(state)
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    producer.send(STATE, key=header.key, value=header.value, partition=0).get(WITHIN_S)
    producer.close()


def test_a_past_that_the_clock_has_left_behind_is_refused_and_the_ways_told(
    run: Run, topics: RunningKafka
) -> None:
    refused = run("simulate", "--days", "240", "--events", "50", kafka=topics.bootstrap)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "The period begins 240 days ago, and the stack's time is the clock's" in refused.stderr
    assert "`phonemeter up --clock events` on a data_dir of its own" in refused.stderr
    assert run("simulate", "--days", "89", "--events", "50", kafka=topics.bootstrap).returncode == 0


def test_the_log_says_whose_clock_it_runs_on_and_not_the_settings_of_whoever_simulates(
    run: Run, topics: RunningKafka
) -> None:
    past = ("simulate", "--days", "240", "--events", "50")
    record(topics.bootstrap, "events")
    assert run(*past, kafka=topics.bootstrap).returncode == 0
    record(topics.bootstrap, "events", tick_ms=1_800_000_000_000)
    assert run(*past, kafka=topics.bootstrap).returncode == 2


@pytest.mark.parametrize("days", [30, simulate_command.SHORTEST_VALIDITY_DAYS])
def test_a_past_that_is_taken_gives_on_the_clock_what_rate_says_of_it(days: int) -> None:
    now_ms = time.time_ns() // 1_000_000
    plan = TrafficPlan(start_ms=now_ms - days * DAY_MS, duration_ms=days * DAY_MS, taps=8_000, seed=2, apps=4)
    arrived = [(json.loads(one.value)["subject"].encode(), one.value) for one in simulate(plan)]
    ticked_first = [(b"clock", ticked(now_ms - 1)), *arrived, (b"clock", ticked(now_ms))]
    on_the_clock = meter(
        PartitionState(0), [Record(n, now_ms, *one) for n, one in enumerate(ticked_first)], Rules()
    )
    alone = meter(PartitionState(0), [Record(n, None, *one) for n, one in enumerate(arrived)], Rules())
    assert moved(on_the_clock.entries) == moved(alone.entries)
    assert sum(entry.kind == "charge" for entry in alone.entries) > 100


def moved(entries: Iterable[Entry]) -> Counter[tuple[str, ...]]:
    """Calls by app, capability, pack, kind and reason: all that a balance is made of."""
    found: Counter[tuple[str, ...]] = Counter()
    for entry in entries:
        if entry.kind in {*CALL_KINDS, "lapse", "purchase", "refund"}:
            found[entry.appid, entry.capability, entry.pack_id, entry.kind, entry.reason] += entry.calls
    return found


def test_what_the_pages_show_to_new_users_is_taken_by_a_stack_on_the_clock() -> None:
    root = Path(__file__).parents[2]
    for page in ("README.md", "README.zh-CN.md"):
        shown = re.findall(r"phonemeter simulate --days (\d+)", (root / page).read_text(encoding="utf-8"))
        assert [days for days in shown if int(days) > simulate_command.SHORTEST_VALIDITY_DAYS] == []
        assert shown
