"""Retention in the ledger's table: old clients are forgotten, old lines move, and every figure stays."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from metering.ledger import Entry, encode_records
from metering.times import DAY_MS, HOUR_MS
from phonemeter.audit.figures import RangeFingerprint
from phonemeter.audit.report import AuditReport
from phonemeter.audit.sentences import forgotten
from phonemeter.audit.stored_ledger import StoredLedger, open_stored_ledger
from phonemeter.settings import load
from sinks.connection import connect, rows
from sinks.entry_columns import concatenate, decode
from sinks.ledger_table import LedgerTable
from sinks.migrations import migrate
from sinks.position import Position
from sinks.retention import Retention, apply, clients_forgotten_before_ms, created_table
from tests.real_parts import starts_real_parts
from tests.sinks.parts import EngineProcess
from tests.waiting import blocking_until

AGES = range(0, 1_000, 10)
TIERED = Retention(client_days=400, cold_days=500, storage_policy="tiered")
DIGITS = 64


@pytest.fixture(scope="module")
@starts_real_parts
def engine(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("retention")
    with EngineProcess(folder, free_port(), free_port(), module="tests.sinks.cluster_engine") as engine:
        yield engine


@pytest.fixture(params=["alone", "phonemeter?cluster=two&prefer_localhost_replica=1"])
def url(engine: EngineProcess, request: pytest.FixtureRequest) -> str:
    """The URL of an empty ledger: on one server, and on a cluster."""
    found = engine.url.replace("phonemeter", str(request.param))
    migrate(found)
    with connect(found) as client:
        lines = "ledger_local" if "cluster" in found else "ledger"
        rows(client, f"TRUNCATE TABLE {lines}")
    return found


def entries(now_ms: int) -> list[Entry]:
    """Calls of every age, oldest first."""
    return [
        Entry(
            1_000 - age,
            0,
            "charge",
            now_ms - age * DAY_MS,
            now_ms - age * DAY_MS,
            "wx1",
            capability="quick",
            calls=1,
            client=f"c{age}",
        )
        for age in sorted(AGES, reverse=True)
    ]


def store(url: str, told: list[Entry]) -> None:
    table = LedgerTable(url)
    for value in encode_records(0, told):
        table.insert(0, concatenate([decode(value, 0)]), table.position(0))
    table.close()


def asked(url: str, query: str) -> list[tuple[Any, ...]]:
    with connect(url) as client:
        return rows(client, query)


def fingerprint(stored: StoredLedger, told: list[Entry]) -> RangeFingerprint:
    found = RangeFingerprint()
    for entry in told:
        found = found.plus(stored.as_stored(entry))
    return found


def test_clients_are_forgotten_and_lines_move_but_figures_positions_and_the_audit_stay(url: str) -> None:
    now_ms = int(time.time() * 1_000)
    told = entries(now_ms)
    figures = "SELECT sum(calls), count(), max((source_offset, line)) FROM ledger"
    store(url, told)
    before = asked(url, figures)
    assert [change.split()[0] for change in apply(url, TIERED)] == ["MODIFY"] * 4
    assert apply(url, TIERED) == ()
    table, created = created_table(url)
    name = table.partition(" ")[0]
    assert clients_forgotten_before_ms(created, now_ms) == now_ms - 400 * DAY_MS + HOUR_MS
    with open_stored_ledger(url, DIGITS) as stored:
        # The rule holds, and no merge may have carried it out yet.
        assert stored.fingerprints(0, Position(10**6, 0)) == {0: fingerprint(stored, told)}
    asked(url, f"OPTIMIZE TABLE {name} FINAL")
    blocking_until(
        lambda: asked(url, "SELECT countIf(client != '') FROM ledger") == [(len(range(0, 400, 10)),)],
        60,
        "the clients of old lines are gone",
    )
    assert asked(url, figures) == before
    with open_stored_ledger(url, DIGITS) as stored:
        assert stored.fingerprints(0, Position(10**6, 0)) == {0: fingerprint(stored, told)}
        lines = stored.lines(0, Position(10**6, 0), 0)
        assert lines == [stored.as_stored(entry) for entry in told]
        wrong = [
            msgspec.structs.replace(entry, client="another") if entry is told[-1] else entry for entry in told
        ]
        assert stored.fingerprints(0, Position(10**6, 0)) != {0: fingerprint(stored, wrong)}
    old = [msgspec.structs.replace(entry, offset=at) for at, entry in enumerate(told[:10], start=5_000)]
    store(url, old)
    where = "SELECT DISTINCT disk_name FROM system.parts WHERE active AND rows = 10 AND database = "
    assert asked(url, f"{where} currentDatabase()") == [("cold",)]
    assert len(apply(url, Retention())) == 3
    assert apply(url, Retention()) == ()
    assert clients_forgotten_before_ms(created_table(url)[1], now_ms) == 0


def test_without_a_wish_the_table_of_today_stays_as_it_is(url: str) -> None:
    assert apply(url, load().retention) == ()
    assert load().retention == Retention()
    assert clients_forgotten_before_ms(created_table(url)[1], 10**12) == 0


def test_the_report_says_which_clients_were_not_compared() -> None:
    report = AuditReport()
    assert list(forgotten(report)) == []
    assert report.clients_forgotten_before is None
    report.clients_forgotten_before_ms = 1_700_000_000_000
    (said,) = forgotten(report)
    assert said.startswith("Clients of lines from before 2023-11-15 are not compared")
    assert report.clients_forgotten_before == "2023-11-14T22:13:20.000Z"
    assert report.clean


def test_the_retention_is_that_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CLIENT_DAYS", "400"), ("COLD_DAYS", "500"), ("STORAGE_POLICY", "tiered")):
        monkeypatch.setenv(f"PHONEMETER_LEDGER_{name}", value)
    assert load().retention == TIERED
