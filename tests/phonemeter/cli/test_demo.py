"""The demo as its users run it: the command itself, with the real stack behind it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clickhouse_connect
import pytest

from metering.events import Capability
from phonemeter.settings import Settings, variable
from phonemeter.stack import services
from phonemeter.stack.probes import http_get
from producers.events import authorization_denied, authorization_succeeded, to_json

pytestmark = pytest.mark.stack

START = datetime(2026, 10, 1, tzinfo=UTC)
TRIAL_CALLS = 10
LIMIT_S = 300
LOG_CHARS = 8_000


def taken(appid: str, capability: Capability, hours: int) -> bytes:
    """A call of an app, so many hours after the start."""
    time = START + timedelta(hours=hours)
    return to_json(
        authorization_succeeded(appid=appid, code=f"code-{hours}", capability=capability, time=time)
    )


def write_events(path: Path) -> None:
    """25 calls of one app, 4 of another, two denied taps, a repeated event and two lines that are none."""
    busy = [taken("wxbusy", "quick", n) for n in range(25)]
    quiet = [taken("wxquiet", "realtime", n) for n in range(4)]
    denied = [
        to_json(
            authorization_denied(
                appid="wxquiet", capability="quick", time=START + timedelta(hours=n), tap=f"tap-{n}"
            )
        )
        for n in range(2)
    ]
    path.write_bytes(
        b"\n".join([*busy, busy[-1], b"{broken", *quiet, *denied, b'{"type":"unknown"}']) + b"\n"
    )


@pytest.fixture
def environ(stack_settings: Settings) -> dict[str, str]:
    """The environment of a demo with ports and a directory of its own."""
    ports = {name: getattr(stack_settings, name) for names in services.PORTS.values() for name in names}
    changes = {**ports, "data_dir": stack_settings.data_dir, "trial_calls": TRIAL_CALLS}
    return {**os.environ, **{variable(name): str(value) for name, value in changes.items()}}


@contextmanager
def started(environ: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process of its own, ended when the context ends."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "phonemeter", "demo", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield demo
    finally:
        demo.terminate()
        demo.communicate(timeout=LIMIT_S)


def run_demo(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "phonemeter", "demo", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def read_until(demo: subprocess.Popen[str], text: str) -> str:
    assert demo.stdout is not None
    output = ""
    for line in demo.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(f"The demo ended before it said {text!r}:\n{with_logs(output)}")


def with_logs(output: str) -> str:
    """The output of a demo, and the ends of the logs that it names."""
    logs = [Path(name) for name in re.findall(r"Its log is (\S+)\.$", output, re.MULTILINE)]
    return output + "".join(f"\n{log}:\n{log.read_text(errors='replace')[-LOG_CHARS:]}" for log in logs)


def processes_of(directory: Path) -> list[str]:
    """Command lines of the processes that name a directory in their arguments or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in told:
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_the_demo_serves_a_checked_ledger_until_ctrl_c_and_goes_on_with_it_later(
    environ: dict[str, str], stack_settings: Settings, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    write_events(events)
    with started(environ, "--file", str(events)) as demo:
        output = read_until(demo, "curl")
        assert "34 events from" in output
        assert "bought on top: one for wxbusy quick." in output
        assert re.search(r"wxbusy +quick +25 +10 +15 +0 +0 +235 +0 +0\.45 +250 to 2026-12-30", output)
        assert re.search(r"wxquiet +realtime +4 +4 +0 +0 +6 +- +0 +0\.00", output)
        assert re.search(r"Line 28 of \S+/demo/traffic\.jsonl was refused: not_json: ", output)
        assert "stored    33 of 33" in output
        assert "░" in output
        assert "33 events in the log, 2 refused, 33 outcomes in ClickHouse" in output
        with clickhouse_connect.get_client(
            port=stack_settings.engine_http_port, database="phonemeter"
        ) as client:
            charged = client.query("SELECT sum(calls) FROM ledger WHERE kind = 'charge'").result_rows
        assert charged == [(15,)]
        link = read_until(demo, "/password?link=").splitlines()[-1].strip()
        path = link.removeprefix(f"http://127.0.0.1:{stack_settings.console_port}")
        status, page = http_get(stack_settings.console_port, path)
        assert status == 200
        assert "设置密码" in page
        second = run_demo(environ, "--exit")
        assert second.returncode == 2
        assert re.match(r"Another stack \(process \d+\) runs on ", second.stdout.splitlines()[-1])
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=LIMIT_S)
        assert rest.endswith("Stopping ...\n")
        assert demo.returncode == 0
    assert processes_of(stack_settings.data_dir) == []
    kept = stack_settings.data_dir / "demo" / "traffic.jsonl"
    assert json.loads(kept.read_text().splitlines()[0])["type"] == "pack.purchased"
    again = run_demo(environ, "--exit", "--continue")
    assert again.returncode == 0, with_logs(again.stdout)
    assert "the log has all of these events already" in again.stdout
    assert "Checked: 33 events in the log" in again.stdout
    assert processes_of(stack_settings.data_dir) == []


def test_a_demo_stopped_before_its_check_does_not_claim_success(
    environ: dict[str, str], stack_settings: Settings
) -> None:
    with started(environ, "--exit") as demo:
        read_until(demo, "of a simulated month")
        read_until(demo, "bought on top")
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=LIMIT_S)
    assert demo.returncode != 0
    assert processes_of(stack_settings.data_dir) == []


def test_a_file_that_is_missing_is_told_before_anything_starts_or_is_deleted(
    environ: dict[str, str], tmp_path: Path
) -> None:
    earlier = Path(environ["PHONEMETER_DATA_DIR"]) / "demo" / "engine" / "data"
    earlier.mkdir(parents=True)
    result = run_demo(environ, "--exit", "--file", str(tmp_path / "missing.jsonl"))
    assert earlier.is_dir()
    assert result.returncode == 2
    assert result.stdout.count("\n") == 1
    assert "missing.jsonl can't be read" in result.stdout
