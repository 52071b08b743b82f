"""`phonemeter emit` and `phonemeter simulate`, as their users call them."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from metering.event_validation import read_event
from metering.rejections import Rejection
from metering.times import DAY_MS, EARLIEST_MS
from phonemeter import cli
from phonemeter.cli import simulate as simulate_command
from phonemeter.cli.simulate_options import OPTIONS
from producers.simulate import TrafficPlan
from tests.conftest import RunningKafka
from tests.phonemeter.cli.calling import Done
from tests.producers.test_bulk import tap
from tests.producers.test_client import paused, stored
from tests.producers.test_emission import GOOD
from tests.waiting import WITHIN_S, blocking_until

Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `phonemeter` in this process, in an empty directory and with no settings of the machine's."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PHONEMETER_")]:
        monkeypatch.delenv(name)

    def phonemeter(*arguments: object, stdin: bytes = b"", kafka: str = "127.0.0.1:1") -> Done:
        monkeypatch.setenv("PHONEMETER_KAFKA", kafka)
        monkeypatch.setenv("PHONEMETER_PRODUCER_BLOCK_S", "30" if kafka != "127.0.0.1:1" else "0.2")
        monkeypatch.setattr(sys, "argv", ["phonemeter", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return phonemeter


MIXED = b"\n".join([GOOD, b"{broken", GOOD, b'{"type":"phone.number.sold"}', b"a" * 70_000, GOOD])
PAST = ("--start", "2026-03-02T00:00:00+08:00", "--days", "3", "--events", "200")


def values(data: bytes) -> list[bytes]:
    return data.splitlines()


def test_emit_delivers_every_line_of_a_file(run: Run, topics: RunningKafka, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert run("simulate", *PAST, "--out", file).returncode == 0
    ran = run("emit", file, "--json", kafka=topics.bootstrap)
    lines = values(file.read_bytes())
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.json["accepted"] == ran.json["delivered"] == len(lines)
    found = [value for records in stored(topics.bootstrap).values() for _, value in records]
    assert sorted(found) == sorted(lines)


def test_emit_tells_every_refused_line_and_delivers_the_others(run: Run, topics: RunningKafka) -> None:
    ran = run("emit", "-", stdin=MIXED, kafka=topics.bootstrap)
    assert ran.returncode == 1
    assert ran.stdout.startswith("3 accepted, 3 refused, 3 delivered in ")
    assert "Refused: 1 not_json, 1 unknown_type, 1 too_large" in ran.stdout
    assert [line.partition(": ")[0] for line in ran.stderr.splitlines()] == ["line 2", "line 4", "line 5"]
    assert sum(len(records) for records in stored(topics.bootstrap).values()) == 3


def test_emit_refuses_a_phone_number_within_a_text_and_an_openid(run: Run) -> None:
    event = json.loads(GOOD)
    lines = [
        json.dumps({**event, "data": event["data"] | fields}, ensure_ascii=False).encode()
        for fields in (
            {"store": "张三店13800138000"},
            {"client": "oGZUI0egBJY1zhBYw2KhdUfwVJJE"},
            {"more": {"userTel": "-"}},
            {"store": "code:13800138000"},
        )
    ]
    ran = run("emit", "-", "--dry-run", stdin=b"\n".join(lines))
    assert ran.returncode == 1
    assert [line[:24] for line in ran.stderr.splitlines()] == [
        f"line {n}: phone_number: da" for n in (1, 2, 3)
    ]
    assert "8000" not in ran.stderr
    assert "oGZUI" not in ran.stderr


def test_emit_reads_what_is_compressed(run: Run, topics: RunningKafka, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl.gz").write_bytes(gzip.compress(MIXED))
    ran = run("emit", tmp_path / "events.jsonl.gz", "--json", kafka=topics.bootstrap)
    assert (ran.json["delivered"], ran.json["refused"]) == (3, 3)


def test_a_file_that_breaks_off_says_where_and_what_was_read_before_is_delivered(
    run: Run, topics: RunningKafka, tmp_path: Path
) -> None:
    file = tmp_path / "broken off.gz"
    lines = b"".join(tap(number) + b"\n" for number in range(5_000))
    file.write_bytes(gzip.compress(lines)[:-20_000])
    ran = run("emit", file, kafka=topics.bootstrap)
    delivered = sum(len(records) for records in stored(topics.bootstrap).values())
    assert ran.returncode == 1
    assert 0 < delivered < 5_000
    assert f"Stopped. {file} can't be read any further: Compressed file ended before" in ran.stdout
    assert f"Go on with: phonemeter emit '{file}' --from-line {delivered + 1}\n" in ran.stdout


def test_emit_goes_on_with_a_line(run: Run, topics: RunningKafka) -> None:
    ran = run("emit", "-", "--from-line", 3, "--json", stdin=MIXED, kafka=topics.bootstrap)
    assert (ran.json["accepted"], ran.json["delivered"]) == (2, 2)
    assert [refusal["line"] for refusal in ran.json["refused_lines"]] == [4, 5]


def test_a_line_to_go_on_with_that_is_not_there_is_no_success(run: Run) -> None:
    ran = run("emit", "-", "--from-line", 7, "--dry-run", stdin=MIXED)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "- has no event at line 7 or after it, so nothing was done; give --from-line" in ran.stderr


def emitting(kafka: str, directory: Path, *arguments: object, **settings: str) -> subprocess.Popen[str]:
    """`phonemeter emit` as a process, with a stdin to write to."""
    environment = {f"PHONEMETER_{name.upper()}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "phonemeter", "emit", *map(str, arguments)],
        cwd=directory,
        env=os.environ | environment | {"PHONEMETER_KAFKA": kafka},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def say(process: subprocess.Popen[str], *values: bytes) -> None:
    assert process.stdin is not None
    process.stdin.writelines(f"{value.decode()}\n" for value in values)
    process.stdin.flush()


def count(kafka: str) -> int:
    return sum(len(records) for records in stored(kafka).values())


def test_what_is_piped_is_delivered_at_once_and_told_when_interrupted(
    topics: RunningKafka, tmp_path: Path
) -> None:
    with emitting(topics.bootstrap, tmp_path, "-", "--json") as process:
        for number in range(3):
            say(process, tap(number))
            blocking_until(lambda: count(topics.bootstrap) == number + 1)  # noqa: B023 - at once
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WITHIN_S)
    summary = json.loads(out)
    assert (process.returncode, err) == (130, "")
    assert (summary["delivered"], summary["interrupted"], summary["next_line"]) == (3, True, 4)


def test_a_broker_that_hangs_ends_a_pipe_with_the_line_to_go_on_with(
    topics: RunningKafka, tmp_path: Path
) -> None:
    with emitting(topics.bootstrap, tmp_path, "-", "--json", producer_delivery_timeout_s="5") as process:
        say(process, tap(1), b"{")
        blocking_until(lambda: count(topics.bootstrap) == 1)
        with paused(topics):
            say(process, tap(3), tap(4))
            out, _ = process.communicate(timeout=WITHIN_S)
    summary = json.loads(out)
    assert process.returncode == 1
    assert (summary["delivered"], summary["failed"], summary["first_failed_line"]) == (1, 2, 3)
    assert summary["next_line"] == 3
    assert "did not confirm the event in time" in summary["stopped_because"]


def test_emit_does_not_write_refused_lines_over_the_events(run: Run, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(MIXED)
    ran = run("emit", "events.jsonl", "--dry-run", "--refused", events)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"--refused {events} is the file of events itself; name another file.\n"
    assert events.read_bytes() == MIXED


def test_emit_writes_all_refused_lines_to_a_file_and_shows_only_some(run: Run, tmp_path: Path) -> None:
    ran = run("emit", "-", "--dry-run", "--show", 1, "--refused", tmp_path / "refused.jsonl", stdin=MIXED)
    refused = [json.loads(line) for line in values((tmp_path / "refused.jsonl").read_bytes())]
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert [(line["line"], line["reason"]) for line in refused] == [
        (2, "not_json"),
        (4, "unknown_type"),
        (5, "too_large"),
    ]


def test_a_dry_run_needs_no_broker(run: Run) -> None:
    ran = run("emit", "-", "--dry-run", "--json", stdin=GOOD)
    assert ran.returncode == 0
    assert (ran.json["accepted"], ran.json["delivered"], ran.json["unconfirmed"]) == (1, 0, 0)


def test_emit_without_a_broker_is_one_sentence(run: Run) -> None:
    ran = run("emit", "-", stdin=GOOD)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Kafka does not answer at 127.0.0.1:1")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "sentence"), [("nothing.jsonl", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_one_sentence(run: Run, file: str, sentence: str) -> None:
    ran = run("emit", file)
    assert (ran.returncode, ran.stderr) == (2, f"{file} can't be read: {sentence}.\n")


def test_a_simulation_written_twice_is_the_same_file(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("simulate", *PAST, "--seed", 7, "--out", tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_simulation_is_published_as_it_is_written(
    run: Run, topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHONEMETER_CLOCK", "events")
    ran = run("simulate", *PAST, "--out", tmp_path / "copy", "--tee", "--json", kafka=topics.bootstrap)
    assert ran.returncode == 0
    found = [value for records in stored(topics.bootstrap).values() for _, value in records]
    assert ran.json["delivered"] == len(found)
    assert sorted(found) == sorted(values((tmp_path / "copy").read_bytes()))


def test_a_simulation_to_stdout_keeps_its_words_to_stderr(run: Run) -> None:
    ran = run("simulate", *PAST, "--out", "-")
    events = [read_event(line.encode(), now_ms=None) for line in ran.stdout.splitlines()]
    assert len(events) > 200
    assert not any(isinstance(event, Rejection) for event in events)
    assert ran.stderr.endswith("events written to -.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tee"], "--tee publishes what --out writes; give --out FILE as well."),
        (["--realtime", "--days", "3"], "Leave out --days: --realtime begins now."),
        (["--for", "3m"], "Leave out --for: without --realtime, --days says how long."),
        (
            ["--realtime", "--for", "3x"],
            "--for '3x' is not a length of time; write it like 90s, 10m, 2h or 1d.",
        ),
        (["--start", "noon"], "--start: 'noon' is not a time"),
        (["--start", "2049-01-01T00:00:00Z"], "The period ends in the future"),
        (["--late", "2"], "This can't be simulated: --late is 2.0; a share is from 0 to 1."),
        (["--denied", "0.9", "--failed", "0.9"], "This can't be simulated: --denied and --failed together"),
        (["--events", "-5"], "This can't be simulated: --events is -5; it can't be negative."),
        (["--rate", "0"], "This can't be simulated: --rate is 0.0; it is from 0.000001 to 1,000,000."),
        (["--apps", "0"], "This can't be simulated: --apps is 0; from 1 to 100000 can be simulated."),
        (
            ["--days", "0"],
            "This can't be simulated: --days has to be more than nothing and at most ten years.",
        ),
        (
            ["--realtime", "--for", "4000d"],
            "This can't be simulated: --for has to be more than nothing and at most ten years.",
        ),
        (
            ["--start", "2016-12-31T00:00:00Z"],
            "This can't be simulated: --start has to keep the whole period within 2017-01-01T00:00",
        ),
        (["--days", "nan"], "--days is nan; it is a number of days, such as 30 or 0.5."),
        (["--days", "inf"], "--days is inf; it is a number of days, such as 30 or 0.5."),
        (["--out", "no/such/place"], "no/such/place can't be written: No such file or directory."),
    ],
)
def test_what_cannot_be_simulated_is_one_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    ran = run("simulate", *arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith(sentence)
    assert len(ran.stderr.splitlines()) == 1


def test_a_period_that_begins_too_early_is_said_of_its_length_where_no_start_was_given(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate_command, "wall_clock_ms", lambda: EARLIEST_MS + 29 * DAY_MS)
    ran = run("simulate", "--days", "30", "--out", "-")
    assert ran.stderr.startswith(
        "This can't be simulated: --days has to keep the whole period within 2017-01-01"
    )


def test_every_field_of_a_plan_is_given_by_an_option_that_there_is() -> None:
    assert set(OPTIONS) == {field.name for field in fields(TrafficPlan)}
    alone = typer.Typer()
    alone.command()(simulate_command.simulate)
    options = {name for parameter in typer.main.get_command(alone).params for name in parameter.opts}
    assert set(OPTIONS.values()) <= options


def test_real_time_keeps_to_the_clock_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "phonemeter", "simulate", "--realtime", "--rate", "100", "--out", "-"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(25)]
        process.send_signal(signal.SIGINT)
        # `communicate` would miss what the last readline took out of the pipe beyond its line.
        lines += process.stdout.readlines()
        err = process.stderr.read()
        assert process.wait(timeout=WITHIN_S) == 0
    assert err == f"{len(lines)} events written to -.\n"


def test_real_time_ends_by_itself_after_the_time_asked_for(run: Run) -> None:
    ran = run("simulate", "--realtime", "--rate", "200", "--for", "0.3s", "--out", "-", "--bots", "0")
    assert 60 <= len(ran.stdout.splitlines()) <= 100


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    command = f"{sys.executable} -m phonemeter simulate --out - --events 5000 | head -n 1"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert len(ran.stdout.splitlines()) == 1
    assert "Error" not in ran.stderr
