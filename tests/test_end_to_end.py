"""The main job on real parts: events emitted, services killed, the ledger read by a client not ours."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from metering.rating import COUNTERS
from phonemeter.stack.services import ServiceName
from phonemeter.stack.stack import Stack
from phonemeter.stack.supervisor import ServiceState
from tests.waiting import blocking_until

VICTIMS: tuple[ServiceName, ...] = ("worker", "sink", "worker", "engine")


def phonemeter(stack: Stack, *arguments: str | Path) -> str:
    """Run the command line as a user does; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "phonemeter", *map(str, arguments)],
        env={**os.environ, **stack.settings.to_environ()},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clickhouse(stack: Stack) -> Iterator[Client]:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=stack.settings.engine_http_port, database="phonemeter"
    )
    yield client
    client.close()


def stored(client: Client, appids: Sequence[str]) -> dict[str, Any]:
    """The figures of `phonemeter rate`, added up from the ledger in ClickHouse."""
    figures: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    lines = client.query(
        "SELECT appid, capability, toString(kind), sum(calls), count(), sum(amount_micro_yuan) "
        "FROM ledger WHERE has({apps:Array(String)}, appid) GROUP BY 1, 2, 3",
        parameters={"apps": list(appids)},
    ).result_rows
    for appid, capability, kind, calls, count, amount in lines:
        if kind in COUNTERS:
            number = count if kind in {"denied", "failed", "duplicate"} else calls
            figures[appid, capability][COUNTERS[kind]] += number
        if kind == "charge":
            figures[appid, capability]["amount_micro_yuan"] += amount
    return {"|".join(place): dict(found) for place, found in figures.items()}


def packs_stored(client: Client, appids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Charged calls, lapsed calls and cost of each pack, from the ledger in ClickHouse."""
    lines = client.query(
        "SELECT appid, pack_id, sumIf(calls, kind = 'charge'), sumIf(calls, kind = 'lapse'), "
        "sumIf(amount_micro_yuan, kind = 'charge') FROM ledger "
        "WHERE pack_id != '' AND has({apps:Array(String)}, appid) GROUP BY 1, 2",
        parameters={"apps": list(appids)},
    ).result_rows
    return {f"{appid}|{pack_id}": (used, lapsed, cost) for appid, pack_id, used, lapsed, cost in lines}


def rated(stack: Stack, file: Path) -> dict[str, Any]:
    apps: dict[str, Any] = json.loads(phonemeter(stack, "rate", file, "--json"))["apps"]
    return apps


def rated_figures(apps: dict[str, Any]) -> dict[str, Any]:
    names = (*COUNTERS.values(), "amount_micro_yuan")
    figures = {
        f"{appid}|{capability}": {name: use[name] for name in names if use[name]}
        for appid, app in apps.items()
        for capability, use in app.items()
        if capability != "trial"
    }
    return {place: found for place, found in figures.items() if found}


def rated_packs(apps: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    return {
        f"{appid}|{pack['pack_id']}": (
            pack["calls"] - pack["remaining"] - pack["lapsed"] if pack["status"] != "refunded" else 0,
            pack["lapsed"],
            pack["amount_micro_yuan"],
        )
        for appid, app in apps.items()
        for capability, use in app.items()
        if capability != "trial"
        for pack in use["packs"]
    }


def nonzero(figures: dict[str, Any]) -> dict[str, Any]:
    kept = {
        place: {name: number for name, number in found.items() if number} for place, found in figures.items()
    }
    return {place: found for place, found in kept.items() if found}


def test_services_killed_during_a_run_come_back_and_the_ledger_is_what_the_rules_say(
    stack: Stack, clickhouse: Client, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    options = [
        "--seed",
        "20261122",
        "--apps",
        "8",
        "--events",
        "12000",
        "--start",
        "2026-01-01T00:00:00+08:00",
    ]
    phonemeter(stack, "simulate", *options, "--days", "200", "--out", file)
    lines = file.read_bytes().splitlines(keepends=True)
    parts = [lines[at : at + len(lines) // 4 + 1] for at in range(0, len(lines), len(lines) // 4 + 1)]
    for part, victim in zip(parts, VICTIMS, strict=True):
        piece = tmp_path / "part.jsonl"
        piece.write_bytes(b"".join(part))
        phonemeter(stack, "emit", piece)
        killed = stack.pid(victim)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        blocking_until(partial(_is_back, stack, victim, killed))
    apps = rated(stack, file)
    wanted = rated_figures(apps)
    blocking_until(lambda: nonzero(stored(clickhouse, list(apps))) == wanted)
    assert packs_stored(clickhouse, list(apps)) == rated_packs(apps)
    assert len(rated_packs(apps)) > 5
    repeated = "SELECT count() - uniqExact(source_partition, source_offset, line) FROM ledger"
    assert clickhouse.query(repeated).result_rows == [(0,)]


def _is_back(stack: Stack, name: ServiceName, killed: int) -> bool:
    """Return true once another process of the service is ready: `ready_within` tells of the first start."""
    return stack.pid(name) not in {None, killed} and stack.state(name) is ServiceState.READY
