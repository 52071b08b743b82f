"""`phonemeter apps`, and commands that ask for one of them."""

import json
import re
from pathlib import Path

import pytest

from metering.ledger import Entry
from metering.times import DAY_MS
from phonemeter.cli.app_choice import AppChoice, match_app
from phonemeter.cli.apps import read_apps
from producers.simulate import TrafficPlan, simulate
from tests.conftest import RunningEngine
from tests.phonemeter.cli.calling import Phonemeter
from tests.phonemeter.cli.storing import stored
from tests.phonemeter.cli.terminal import on_terminal
from tests.sinks.parts import START_MS, purchase

ROOT = Path(__file__).parents[3]
NOW_MS = START_MS + 21 * DAY_MS


def registered(app: str, offset: int, name: str, reason: str = "charged") -> Entry:
    details = json.dumps({"name": name, "entity_type": "company"}, ensure_ascii=False)
    return Entry(offset, 0, "registration", START_MS, START_MS, app, reason=reason, details=details)


def granted(app: str, offset: int) -> Entry:
    return Entry(offset, 0, "trial_grant", START_MS, START_MS, app, calls=100, remaining=100)


def alerted(app: str, offset: int, at_ms: int, reason: str, *, over: bool = False) -> Entry:
    return Entry(offset, 0, "recovery" if over else "alert", at_ms, at_ms, app, "quick", reason=reason)


def tap(app: str, day: int, n: int) -> Entry:
    time_ms = START_MS + day * DAY_MS + n * 1_000
    offset = 100 + day * 10 + n
    return Entry(offset, 0, "charge", time_ms, time_ms, app, "quick", f"{offset}", 1, 30_000, "own")


ENTRIES = [
    granted("wx1", 0),
    registered("wx1", 1, "会员中心"),
    purchase("wx1", "own", 2, calls=5_000),
    granted("wx2", 3),
    registered("wx2", 4, "Hospital", "exempt"),
    alerted("wx1", 5, START_MS + DAY_MS, "expiry"),
    alerted("wx1", 6, START_MS + DAY_MS, "level"),
    alerted("wx1", 7, START_MS + DAY_MS, "run_out"),
    alerted("wx1", 8, START_MS + 2 * DAY_MS, "run_out", over=True),
    *(tap("wx1", day, n) for day in range(21) for n in range(10)),
    alerted("wx1", 900, NOW_MS - DAY_MS, "minute_burn"),
    Entry(999, 0, "denied", NOW_MS, NOW_MS, "wx1", "quick", "newest"),
]


@pytest.fixture(scope="module")
def url(engine: RunningEngine) -> str:
    """A database whose ledger holds `ENTRIES`."""
    return stored(engine.url("apps"), ENTRIES)


def test_every_app_is_told_with_what_is_left_until_when_and_its_alerts(url: str) -> None:
    found = read_apps(url)
    assert [(app.appid, app.name, app.exempt) for app in found.apps] == [
        ("wx1", "会员中心", False),
        ("wx2", "Hospital", True),
    ]
    quick = found.apps[0].capabilities["quick"]
    assert quick.calls_left == 100 + 5_000 - 210
    assert quick.run_out_at == quick.next_expires_at == quick.lapses_at == "2024-08-30T00:00:00.000Z"
    assert quick.lapsing == 5_000 - 210 - ((90 - 21) * 10 - 100)
    # What has recovered stands no more, nor does the old alert of an expiry.
    assert quick.alerts == ["level", "minute_burn"]
    other = found.apps[1].capabilities["realtime"]
    assert (other.calls_left, other.run_out_at, other.lapsing, other.alerts) == (100, None, 0, [])


def test_people_and_programs_are_told_the_same_apps(phonemeter: Phonemeter, url: str, tmp_path: Path) -> None:
    told = json.loads(phonemeter("apps", "--json", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url).stdout)
    assert told["apps"][0]["capabilities"]["quick"]["calls_left"] == 4_890
    assert told["as_of"] == "2024-06-22T00:00:00.000Z"
    shown = phonemeter("apps", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url).stdout.splitlines()
    assert shown[0] == "2 apps, as of 2024-06-22 08:00 (Shanghai)"
    out = "2024-08-30 08:00"
    row = f"wx1 会员中心 quick 4,890 {out} {out} 4,200 on {out} level, minute_burn"
    assert " ".join(shown[2].split()) == row


@pytest.mark.parametrize("answer", ["2", "wx1", "会员", "WX1"])
def test_a_person_on_a_terminal_is_asked_for_the_app(url: str, tmp_path: Path, answer: str) -> None:
    typed = f"wx\n{answer}\n"
    seen = on_terminal("balance", columns=80, cwd=tmp_path, typed=typed, PHONEMETER_CLICKHOUSE=url)
    assert seen.returncode == 0, seen.text
    assert "No app, or more than one, is called so." in seen.text
    assert "quick: 4,890 calls left" in seen.text


def test_a_person_who_chooses_none_is_told_so(url: str, tmp_path: Path) -> None:
    seen = on_terminal("forecast", columns=80, cwd=tmp_path, typed="\x04", PHONEMETER_CLICKHOUSE=url)
    assert (seen.returncode, seen.lines[-1].endswith("? No app was chosen.")) == (2, True)


@pytest.mark.parametrize("command", ["balance", "forecast"])
def test_without_a_terminal_the_sentence_names_what_lists_the_apps(
    phonemeter: Phonemeter, command: str, tmp_path: Path
) -> None:
    shown = phonemeter(command, cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (2, "", 1)
    assert shown.stderr.endswith("All of them: phonemeter apps.\n")


def test_an_answer_is_a_number_an_id_or_a_part_that_only_one_app_has() -> None:
    apps = [AppChoice("wx12", "Bakery"), AppChoice("wx123", "Bakery and café"), AppChoice("wx4", "")]
    assert match_app(apps, " 3 ") == apps[2]
    assert match_app(apps, "wx12") == apps[0]
    assert match_app(apps, "bakery") == apps[0]
    assert match_app(apps, "CAFÉ") == apps[1]
    assert [match_app(apps, answer) for answer in ("", "0", "5", "wx", "nothing")] == [None] * 5


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "phonemeter/cli/app_choice.py"])
def test_the_app_of_the_example_is_in_simulated_traffic(page: str) -> None:
    (appid,) = set(re.findall(r"wx[0-9a-f]{16}", (ROOT / page).read_text(encoding="utf-8")))
    plan = TrafficPlan(start_ms=START_MS, duration_ms=DAY_MS, taps=100)
    assert any(appid.encode() in arrival.value for arrival in simulate(plan))
