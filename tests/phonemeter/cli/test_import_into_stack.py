"""Files imported into the real broker, worker, sink and engine, beside live events, on the wall clock."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phonemeter.history import counted_events
from phonemeter.settings import load
from phonemeter.stack.stack import Stack
from producers.client import EventProducer
from producers.events import authorization_succeeded, pack_purchased
from sinks.connection import connect, rows
from tests.conftest import _ports_of_a_stack
from tests.phonemeter.cli.calling import Done, Phonemeter
from tests.real_parts import starts_real_parts
from tests.sinks.notifier.parts import SECRET, SECRET_VARIABLE, Receiver, webhook_routes
from tests.waiting import blocking_until

NOW = datetime.now(UTC).replace(microsecond=0)
REMEMBERED = 600


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
@starts_real_parts
def wall(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Stack]:
    """A stack on the wall clock that remembers few ids, with a notifier."""
    directory = tmp_path_factory.mktemp("wall")
    settings = load(
        data_dir=directory / "stack",
        clock="wall",
        tick_interval_s=1,
        trial_calls=0,
        remembered_ids_max=REMEMBERED,
        alert_routes=webhook_routes(directory / "routes.toml", receiver.url),
        **_ports_of_a_stack(),
    )
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv(SECRET_VARIABLE, SECRET)
        with Stack(settings) as running:
            yield running


Import = Callable[..., Done]


@pytest.fixture
def run(wall: Stack, phonemeter: Phonemeter, tmp_path: Path) -> Import:
    """Call `phonemeter import` against the stack."""

    def call(*arguments: object) -> Done:
        environ = wall.settings.to_environ()
        return phonemeter("import", *arguments, cwd=tmp_path, **environ)

    return call


def figures(stack: Stack, appid: str) -> dict[str, int]:
    """The calls of an app by kind in ClickHouse."""
    with connect(stack.settings.clickhouse) as client:
        found = rows(
            client,
            "SELECT toString(kind), toInt64(if(kind IN ('failed', 'duplicate'), count(), sum(calls))) "
            "FROM ledger WHERE appid = %(appid)s GROUP BY kind",
            {"appid": appid},
        )
    return dict(found)


def awaited(stack: Stack, appid: str, **wanted: int) -> None:
    blocking_until(
        lambda: {kind: figures(stack, appid).get(kind, 0) for kind in wanted} == wanted, what=f"{wanted}"
    )


def live(stack: Stack, *events: dict[str, Any]) -> None:
    with EventProducer(stack.settings) as producer:
        for event in events:
            producer.publish(event)


def call_rows(appid: str, calls: int, *, days_ago: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "appid": appid,
            "time": (NOW - timedelta(days=days_ago, seconds=-60 * number)).isoformat(),
            "code": f"code-{first + number}",
            "capability": "quick",
            "store": f"store-{number % 3}",
            "type": "succeeded",
        }
        for number in range(calls)
    ]


def pack_row(appid: str, pack_id: str, calls: int, *, days_ago: int) -> dict[str, Any]:
    return {
        "appid": appid,
        "pack_id": pack_id,
        "capability": "quick",
        "calls": calls,
        "validity_days": 365,
        "price_yuan": "30",
        "paid_at": (NOW - timedelta(days=days_ago)).isoformat(),
    }


def written(path: Path, lines: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def test_past_months_land_beside_live_calls_and_count_once_however_often_they_are_imported(
    wall: Stack, run: Import, tmp_path: Path
) -> None:
    app = "wxhistory1"
    live(wall, authorization_succeeded(appid=app, code="live-1", capability="quick", time=datetime.now(UTC)))
    packs = written(tmp_path / "packs.csv", [pack_row(app, "P1", 1_000, days_ago=200)])
    calls = tmp_path / "calls.jsonl"
    calls.write_text(
        "".join(f"{json.dumps(one)}\n" for one in call_rows(app, 40, days_ago=150)), encoding="utf-8"
    )
    more = call_rows(app, 30, days_ago=90, first=40)
    for one in more:
        one["time"] = datetime.fromisoformat(one["time"])
    parquet = tmp_path / "calls.parquet"
    pq.write_table(pa.Table.from_pylist(more), parquet)
    dry = run(calls, packs, parquet, "--dry-run", "--json")
    assert (dry.returncode, dry.json["events"], dry.json["counted_before"]) == (0, 71, 0)
    assert figures(wall, app).get("charge", 0) == 0
    done = run(calls, packs, parquet, "--json")
    assert (done.returncode, done.json["delivered"]) == (0, 71)
    awaited(wall, app, charge=71, uncovered=0, duplicate=0, purchase=1_000)
    again = run(calls, packs, parquet, "--json")
    assert (again.json["delivered"], again.json["counted_before"]) == (0, 71)
    plain = run(calls, packs, parquet)
    assert "0 of 0 facts delivered, 71 counted before" in plain.stdout
    assert figures(wall, app)["charge"] == 71


def test_what_the_worker_has_forgotten_is_looked_up_in_the_ledger(
    wall: Stack, run: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are forgotten beyond 600; without the ledger, such old events are held."""
    # Of many facts all ids of the app are read, of few those that begin as theirs.
    monkeypatch.setattr(counted_events, "FEW_FACTS", 1_000)
    app = "wxhistory2"
    packs = written(tmp_path / "packs.csv", [pack_row(app, "P1", 5_000, days_ago=200)])
    first = written(tmp_path / "first.csv", call_rows(app, 1_500, days_ago=150))
    assert run(packs, first).returncode == 0
    awaited(wall, app, charge=1_500)
    both = written(
        tmp_path / "both.csv",
        call_rows(app, 1_500, days_ago=150) + call_rows(app, 20, days_ago=149, first=1_500),
    )
    done = run(both, "--json")
    assert (done.json["delivered"], done.json["counted_before"]) == (20, 1_500)
    awaited(wall, app, charge=1_520, duplicate=0)
    old = written(tmp_path / "old.csv", call_rows(app, 3, days_ago=148, first=2_000))
    assert run(old, "--without-ledger").returncode == 0
    blocking_until(lambda: letters(wall) == 3)
    counted = run(old, "--json")
    assert counted.json["delivered"] == 3
    awaited(wall, app, charge=1_523, duplicate=0)


def letters(stack: Stack) -> int:
    with connect(stack.settings.clickhouse) as client:
        ((held,),) = rows(client, "SELECT count() FROM ledger WHERE reason = 'beyond_horizon'")
    return int(held)


def test_history_wakes_nobody_up_and_the_next_live_call_tells_what_stands(
    wall: Stack, run: Import, tmp_path: Path, receiver: Receiver
) -> None:
    app = "wxhistory3"
    facts = written(tmp_path / "packs.csv", [pack_row(app, "P1", 100, days_ago=60)])
    calls = call_rows(app, 96, days_ago=50)
    failed = call_rows(app, 5, days_ago=40, first=1_000)
    for one in failed:
        one |= {"type": "failed", "errno": 1_400_001}
    past = written(tmp_path / "calls.csv", [{**one, "errno": one.get("errno", "")} for one in calls + failed])
    assert run(facts, past).returncode == 0
    awaited(wall, app, charge=96, failed=5)
    early = call_rows(app, 6, days_ago=70, first=2_000)
    assert run(written(tmp_path / "early.csv", early)).returncode == 0
    awaited(wall, app, uncovered=6)
    assert alerts(wall, app) == []
    live(wall, authorization_succeeded(appid=app, code="live", capability="quick", time=datetime.now(UTC)))
    blocking_until(lambda: [one["reason"] for one in sent(receiver, app)] == ["level"] * 3)
    assert {one["details"]["level_percent"] for one in sent(receiver, app)} == {20, 10, 5}


def alerts(stack: Stack, appid: str) -> list[Any]:
    with connect(stack.settings.clickhouse) as client:
        return rows(
            client, "SELECT reason FROM ledger WHERE appid = %(appid)s AND kind = 'alert'", {"appid": appid}
        )


def sent(receiver: Receiver, appid: str) -> list[Any]:
    bodies = [one["data"] for one in receiver.verified()]
    found = [one for body in bodies for one in body.get("alerts", [body])]
    return [one for one in found if one["appid"] == appid]


def used(stack: Stack, appid: str) -> dict[str, tuple[int, int]]:
    """Charged and lapsed calls of each pack of an app."""
    with connect(stack.settings.clickhouse) as client:
        found = rows(
            client,
            "SELECT pack_id, sumIf(calls, kind = 'charge'), sumIf(calls, kind = 'lapse') FROM ledger "
            "WHERE appid = %(appid)s AND pack_id != '' GROUP BY pack_id",
            {"appid": appid},
        )
    return {pack_id: (charged, lapsed) for pack_id, charged, lapsed in found}


@pytest.mark.parametrize(("app", "first"), [("wxsettled1", "packs"), ("wxsettled2", "calls")])
def test_history_of_packs_that_have_lapsed_is_settled_whatever_file_comes_first(
    wall: Stack, run: Import, tmp_path: Path, app: str, first: str
) -> None:
    now = datetime.now(UTC)
    live(
        wall,
        pack_purchased(
            appid=app,
            pack_id="L1",
            capability="quick",
            calls=1_000,
            validity_days=365,
            price_micro_yuan=30_000_000,
            paid_at=now - timedelta(days=100),
        ),
        authorization_succeeded(appid=app, code="live", capability="quick", time=now),
    )
    calls = [one for day in range(60) for one in call_rows(app, 1, days_ago=325 - day, first=day)]
    files = {
        "packs": [pack_row(app, "H1", 250, days_ago=330) | {"validity_days": 90}],
        "calls": calls,
    }
    for name in (first, *files.keys() - {first}):
        assert run(written(tmp_path / f"{name}.csv", files[name])).returncode == 0
    blocking_until(lambda: used(wall, app) == {"H1": (60, 190), "L1": (1, 0)}, 90)
    awaited(wall, app, uncovered=0, charge=61)
