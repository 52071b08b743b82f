"""`phonemeter rate`: the rules over a file, for people and for programs."""

import gzip
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metering.events import VALUE_BYTES_MAX
from phonemeter import cli
from tests.metering.building import APP, at, corrected, failed, purchased, succeeded, text_of
from tests.phonemeter.cli.calling import Done

ALLOWED = "2017-01-01T00:00:00.000Z to 2050-01-01T00:00:00.000Z"


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `phonemeter rate` in this process, in an empty directory and with no settings of the machine's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PHONEMETER_CONFIG", raising=False)

    def rate(*arguments: str | Path, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["phonemeter", "rate", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return rate


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    lines = [
        purchased(at(0), "pack-1", calls=3, price=10, days=90),
        *[succeeded(at(1)) for _ in range(4)],
        succeeded(at(5), capability="realtime"),
    ]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_the_figures_are_one_json_object(run: Run, events: Path) -> None:
    ran = run(events, "--json", "--trial-calls", "1")
    assert (ran.returncode, ran.stderr) == (0, "")
    account = ran.json["apps"][APP]
    assert account["trial"] == {"size": 1, "remaining": 0, "used_before": 0}
    assert account["quick"] == {
        "succeeded": 4,
        "charged": 3,
        "trial_charged": 1,
        "free": 0,
        "exempt": 0,
        "uncovered": 0,
        "denied": 0,
        "failed": 0,
        "duplicates": 0,
        "corrected": 0,
        "amount_micro_yuan": 10,
        "packs": [
            {
                "pack_id": "pack-1",
                "calls": 3,
                "remaining": 0,
                "lapsed": 0,
                "status": "exhausted",
                "starts_at": "2023-08-25T16:00:00.000Z",
                "expires_at": "2023-11-23T16:00:00.000Z",
                "amount_micro_yuan": 10,
                "used_before": 0,
            }
        ],
    }
    assert account["realtime"]["uncovered"] == 1
    assert list(ran.json) == ["apps", "rejected", "alerts"]


def test_the_alerts_of_a_refusal_by_the_platform_are_shown(run: Run, tmp_path: Path) -> None:
    """Rule 18: a pack of 250 calls, 50 of them used, and 120 refusals."""
    path = tmp_path / "refused.jsonl"
    lines = [
        purchased(at(0), "P1", calls=250),
        *[succeeded(at(0, hours=hour)) for hour in range(50)],
        *[failed(at(3, ms=30_000 * number)) for number in range(120)],
    ]
    path.write_bytes(b"\n".join(lines))
    (alert,) = run(path, "--json", "--trial-calls", "0").json["alerts"]
    assert alert["details"] == {"errno": 1_400_001}
    assert (alert["reason"], alert["remaining"], alert["time"]) == ("refused", 200, text_of(at(3)))
    shown = run(path, "--trial-calls", "0").stdout
    assert re.search(rf"2023-08-29 00:00:00 +{APP} +quick +alert +refused +200\n", shown)


def test_of_many_alerts_the_newest_are_shown(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "levels.jsonl"
    lines = [line for n in range(9) for line in (purchased(at(n), f"P{n}", calls=1), succeeded(at(n)))]
    path.write_bytes(b"\n".join(lines))
    assert len(run(path, "--json", "--trial-calls", "0").json["alerts"]) > 60
    shown = run(path, "--trial-calls", "0").stdout
    title, table = shown[shown.index("Alerts (") :].split("\n", 1)
    assert re.fullmatch(r"Alerts \(times in Asia/Shanghai, the newest 20 of \d+\) *", title)
    assert table.count(APP) == 20


def test_calls_that_a_correction_took_out_are_counted_beside_the_others(run: Run) -> None:
    lines = [
        purchased(at(0), "pack-1"),
        *(succeeded(at(1, ms=number), event_id=f"call-{number}") for number in range(3)),
        corrected(at(2), "call-1", void=True),
        corrected(at(2), "call-2", set={"capability": "realtime"}),
    ]
    ran = run("-", "--json", "--trial-calls", "0", stdin=b"\n".join(lines))
    account = ran.json["apps"][APP]
    assert [account["quick"][name] for name in ("succeeded", "charged", "corrected")] == [1, 1, 2]
    assert [account["realtime"][name] for name in ("succeeded", "uncovered", "corrected")] == [1, 1, -1]
    shown = run("-", "--trial-calls", "0", stdin=b"\n".join(lines)).stdout
    assert "rected" in shown
    assert "rected" not in run("-", "--trial-calls", "0", stdin=lines[1]).stdout


def test_events_may_come_from_stdin(run: Run, events: Path) -> None:
    assert run("-", "--json", stdin=events.read_bytes()).json == run(events, "--json").json


def test_the_file_may_be_compressed(run: Run, events: Path, tmp_path: Path) -> None:
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(events.read_bytes()))
    assert run(packed, "--json") == run(events, "--json")
    packed.write_bytes(packed.read_bytes()[:-10])
    broken = run(packed, "--json")
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.startswith(f"{packed} can't be read any further: ")


def test_as_of_a_time_later_events_are_left_out(run: Run, events: Path) -> None:
    figures = run(events, "--json", "--at", text_of(at(1))).json["apps"][APP]
    assert (figures["quick"]["succeeded"], figures["realtime"]["succeeded"]) == (4, 0)
    lapsed = run(events, "--json", "--trial-calls", "9", "--at", text_of(at(91))).json["apps"][APP]
    assert lapsed["quick"]["packs"][0]["lapsed"] == 3


def test_billing_start_and_the_scope_of_the_trial_can_be_given(run: Run, events: Path) -> None:
    later = run(events, "--json", "--billing-start", "2023-09-30T00:00:00+08:00").json["apps"][APP]
    assert (later["quick"]["free"], later["realtime"]["free"]) == (4, 1)
    scoped = run(events, "--json", "--trial-calls", "1", "--trial-scope", "capability").json["apps"][APP]
    assert (scoped["trial"]["size"], scoped["realtime"]["trial_charged"]) == (2, 1)


def test_what_is_not_given_is_as_the_settings_say(
    run: Run, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(events, "--json").json["apps"][APP]["trial"]["size"] == 1_000
    monkeypatch.setenv("PHONEMETER_TRIAL_CALLS", "2")
    assert run(events, "--json").json["apps"][APP]["trial"]["size"] == 2
    assert run(events, "--json", "--trial-calls", "0").json["apps"][APP]["trial"]["size"] == 0


def test_people_get_tables_of_calls_and_packs(run: Run, events: Path) -> None:
    ran = run(events, "--trial-calls", "0")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert APP in ran.stdout
    assert "0.00001" in ran.stdout
    pack = next(line for line in ran.stdout.splitlines() if "pack-1" in line)
    assert "exhausted" in pack
    assert "2023-08-26 00:00:00" in pack
    assert "2023-11-24 00:00:00" in pack


def test_on_a_narrow_terminal_every_app_and_figure_is_whole(
    run: Run, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    lines = re.sub("\x1b[^m]*m", "", run(events, "--trial-calls", "0").stdout).splitlines()
    assert max(len(line.rstrip()) for line in lines[: lines.index("")]) <= 80
    assert "…" not in "".join(lines)
    assert any(line.split()[:3] == [APP, "quick", "4"] for line in lines)


def test_without_any_app_people_get_a_sentence(run: Run) -> None:
    assert run("-") == Done(0, "No app appears in these events.\n", "")


def test_rejected_lines_are_counted_for_programs(run: Run) -> None:
    ran = run("-", "--json", stdin=b"{\n\n[]\n" + succeeded(at(1)))
    assert (ran.json["rejected"], ran.returncode, ran.stderr) == (2, 0, "")


def test_rejected_lines_are_told_to_people_with_their_numbers(run: Run) -> None:
    ran = run("-", stdin=b"\n{\n\n" + succeeded(at(1)) + b"\n[]\n")
    assert ran.stderr.splitlines() == [
        "line 2: not_json: The event is not a JSON object: Input data was truncated.",
        "line 5: invalid_field: Expected `object`, got `array`.",
    ]


def test_a_phone_number_within_a_text_and_an_openid_are_rejected(run: Run) -> None:
    lines = [
        succeeded(at(1), store="tel:13800138000"),
        succeeded(at(1), client="oGZUI0egBJY1zhBYw2KhdUfwVJJE"),
        succeeded(at(1), store="code:13800138000"),
    ]
    ran = run("-", stdin=b"\n".join(lines))
    assert [line[:22] for line in ran.stderr.splitlines()] == [
        "line 1: phone_number: ",
        "line 2: phone_number: ",
    ]
    assert "8000" not in ran.stderr
    assert "oGZUI" not in ran.stderr


def test_only_the_first_rejected_lines_are_told(run: Run) -> None:
    lines = run("-", stdin=b"{\n" * 1_500).stderr.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "1,500 lines are no events; these are the first 10."


def test_a_line_that_is_too_long_is_rejected_and_the_next_is_read(run: Run) -> None:
    ran = run("-", "--json", stdin=b" " + b"x" * (3 * VALUE_BYTES_MAX) + b"\n" + succeeded(at(1)))
    assert (ran.json["rejected"], list(ran.json["apps"])) == (1, [APP])
    told = run("-", stdin=b"x" * (3 * VALUE_BYTES_MAX)).stderr
    assert told == "line 1: too_large: The event is larger than 65536 bytes.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.jsonl"], "missing.jsonl can't be read: No such file or directory."),
        (["."], ". can't be read: Is a directory."),
        (
            ["-", "--at", "yesterday"],
            "--at: 'yesterday' is not a time; write it like 2026-10-17T10:05:03.120Z.",
        ),
        (
            ["-", "--at", "2026-10-17"],
            "--at: '2026-10-17' has no time zone; add Z or an offset such as +08:00.",
        ),
        (
            ["-", "--at", "1970-01-01T00:00:00Z"],
            f"--at: '1970-01-01T00:00:00Z' is not within {ALLOWED}.",
        ),
        (
            ["-", "--billing-start", "9999-12-31T23:59:59-08:00"],
            f"--billing-start: '9999-12-31T23:59:59-08:00' is not within {ALLOWED}.",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    assert run(*arguments) == Done(2, "", f"{sentence}\n")


@pytest.mark.parametrize("arguments", [["-", "--trial-calls", "-1"], ["-", "--trial-scope", "shop"], []])
def test_a_wrong_call_is_refused(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")


@pytest.fixture
def late(tmp_path: Path) -> Path:
    """A call from before a top-up that comes after one from behind it."""
    path = tmp_path / "late.jsonl"
    lines = [purchased(at(1), "P1", calls=1), purchased(at(5), "P2"), succeeded(at(6)), succeeded(at(2))]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_the_figures_are_the_settled_ones_unless_those_of_the_arrival_are_wanted(
    run: Run, late: Path
) -> None:
    settled = run(late, "--json", "--trial-calls", "0").json["apps"][APP]["quick"]
    arrived = run(late, "--json", "--trial-calls", "0", "--as-arrived").json["apps"][APP]["quick"]
    assert (settled["uncovered"], [pack["remaining"] for pack in settled["packs"]]) == (0, [0, 9])
    assert (arrived["uncovered"], [pack["remaining"] for pack in arrived["packs"]]) == (1, [0, 10])


def test_the_alerts_are_those_of_the_order_of_the_lines(run: Run, late: Path) -> None:
    settled, arrived = run(late, "--json"), run(late, "--json", "--as-arrived")
    assert settled.json["alerts"] == arrived.json["alerts"]


def test_calls_that_are_too_many_to_put_in_order_are_refused_in_a_sentence(
    run: Run, late: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering.offline_settlement.CALLS_MAX", 1)
    ran = run(late)
    assert ran.returncode == 2
    assert ran.stderr.endswith(
        "more than 1 calls are too many to put in order; --as-arrived rates them in the order of the lines, "
        "or rate fewer.\n"
    )
    assert run(late, "--as-arrived").returncode == 0
