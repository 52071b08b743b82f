"""`phonemeter balance`: what an app has left, from the real engine."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from metering.ledger import Entry
from metering.times import DAY_MS
from phonemeter.cli.balance import read_balance
from phonemeter.errors import OperationError
from tests.conftest import RunningEngine
from tests.phonemeter.cli.calling import Phonemeter
from tests.phonemeter.cli.storing import stored
from tests.sinks.parts import HOST, START_MS, purchase

ENTRIES = [
    Entry(0, 0, "trial_grant", START_MS, START_MS, "wx1", calls=1_000, remaining=1_000),
    purchase("wx1", "later", 1, starts_at_ms=START_MS + 3 * DAY_MS),
    purchase("wx1", "sooner", 2, calls=1_000),
    purchase("wx1", "gone", 3, starts_at_ms=START_MS - 90 * DAY_MS),
    Entry(4, 0, "trial_charge", START_MS, START_MS, "wx1", "realtime", "e1", calls=1),
    Entry(5, 0, "charge", START_MS, START_MS, "wx1", "quick", "e2", 1, 30_000, "sooner"),
    Entry(6, 0, "lapse", START_MS + 5 * DAY_MS, START_MS, "wx1", "quick", calls=250, pack_id="gone"),
    purchase("wx2", "in use", 7, calls=1_000),
    Entry(8, 0, "opening", START_MS, START_MS, "wx2", "quick", calls=620, pack_id="in use"),
    Entry(9, 0, "charge", START_MS, START_MS, "wx2", "quick", "e3", 1, 30_000, "in use"),
    purchase("wx2", "back", 10),
    Entry(11, 0, "refund", START_MS, START_MS, "wx2", "quick", calls=250, pack_id="back"),
]


@pytest.fixture(scope="module")
def url(engine: RunningEngine) -> str:
    """A database whose ledger holds `ENTRIES`."""
    return stored(engine.url("balances"), ENTRIES)


def test_trial_and_packs_are_told_in_burn_order(url: str) -> None:
    found = read_balance(url, "wx1")
    assert (found.trial_size, found.trial_remaining, found.trial_shared) == (1_000, 999, True)
    quick = found.capabilities["quick"]
    assert (quick.calls_left, quick.packs_remaining) == (999 + 999 + 250, 999 + 250)
    assert [(pack.pack_id, pack.burns, pack.status, pack.remaining) for pack in quick.packs] == [
        ("gone", None, "lapsed", 0),
        ("sooner", 1, "active", 999),
        ("later", 2, "active", 250),
    ]
    assert quick.packs[1].expires_at == "2024-08-30T00:00:00.000Z"
    assert found.capabilities["realtime"].packs == []


def test_json_is_one_object(phonemeter: Phonemeter, url: str, tmp_path: Path) -> None:
    shown = phonemeter("balance", "wx1", "--json", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert told["appid"] == "wx1"
    assert told["capabilities"]["quick"]["packs"][1]["amount_micro_yuan"] == 30_000


def test_people_get_a_table_with_shanghai_times(phonemeter: Phonemeter, url: str, tmp_path: Path) -> None:
    shown = phonemeter("balance", "wx1", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)
    assert shown.returncode == 0, shown.stderr
    assert "trial quota: 999 of 1,000 calls left, for both capabilities together" in shown.stdout
    assert "quick: 2,248 calls left (999 trial, 1,249 in packs)" in shown.stdout
    assert "2024-08-30 08:00" in shown.stdout


def test_on_80_columns_no_pack_and_no_date_is_cut_off(
    phonemeter: Phonemeter, url: str, tmp_path: Path
) -> None:
    shown = phonemeter(
        "balance", "wx1", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url, COLUMNS="80", FORCE_COLOR="1"
    ).stdout
    assert "…" not in shown
    assert "sooner" in shown
    assert "2024-08-30" in shown


@pytest.mark.parametrize("command", ["balance", "forecast"])
def test_an_unknown_app_is_told_in_one_sentence(
    phonemeter: Phonemeter, url: str, tmp_path: Path, command: str
) -> None:
    shown = phonemeter(command, "wx404", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (1, "", 1)
    assert "The ledger has no entry about app wx404" in shown.stderr


@pytest.mark.parametrize("command", ["balance", "forecast"])
def test_an_engine_that_is_away_is_told_in_one_sentence(
    phonemeter: Phonemeter, tmp_path: Path, free_port: Callable[[], int], command: str
) -> None:
    away = f"clickhouse://default:secret@{HOST}:{free_port()}/phonemeter"
    shown = phonemeter(command, "wx1", cwd=tmp_path, PHONEMETER_CLICKHOUSE=away)
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (1, "", 1)
    assert "does not answer" in shown.stderr
    assert "secret" not in shown.stderr


def test_a_database_without_a_ledger_says_what_makes_one(engine: RunningEngine) -> None:
    with pytest.raises(OperationError, match="has no ledger yet: start the sink"):
        read_balance(engine.url("nothing_here"), "wx1")


def test_every_pack_adds_up_with_what_was_used_before_and_what_was_given_back(
    phonemeter: Phonemeter, url: str, tmp_path: Path
) -> None:
    packs = {pack.pack_id: pack for pack in read_balance(url, "wx2").capabilities["quick"].packs}
    assert (packs["in use"].used_before, packs["in use"].charged, packs["in use"].remaining) == (620, 1, 379)
    assert packs["back"].refunded == 250
    for pack in packs.values():
        held = pack.used_before + pack.charged + pack.lapsed + pack.refunded + pack.remaining
        assert held == pack.calls
    shown = phonemeter("balance", "wx2", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)
    assert "used before" in shown.stdout
    assert "trial quota: 0 of 0 calls left\n" in shown.stdout
    assert "used before" not in phonemeter("balance", "wx1", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url).stdout
