"""`phonemeter audit` on the real stack."""

import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from phonemeter.cli.audit import seconds_of
from phonemeter.errors import UserError
from phonemeter.stack.stack import Stack
from tests.metering.building import at, purchased, succeeded
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.test_main import phonemeter
from tests.waiting import blocking_until


def emit(stack: Stack, lines: list[bytes], tmp_path: Path) -> None:
    """Publish events as users do."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    done = phonemeter("emit", str(file), cwd=tmp_path, **stack.settings.to_environ())
    assert done.returncode == 0, done.stderr


def traffic(app: str) -> list[bytes]:
    """A pack of five calls and 1,002 calls, of which the trial takes 1,000."""
    return [
        purchased(at(1), f"pack-{app}", calls=5, price=150_000, app=app, event_id=f"buy-{app}"),
        *(succeeded(at(2, ms=n), app=app, event_id=f"tap-{app}-{n}") for n in range(1_002)),
    ]


@pytest.fixture
def app() -> str:
    """An app of the test's own."""
    return f"wx{secrets.token_hex(8)}"


@pytest.mark.stack
def test_a_run_through_the_stack_is_clean(stack: Stack, app: str, tmp_path: Path) -> None:
    emit(stack, traffic(app), tmp_path)
    settled(stack.settings)
    shown = phonemeter("audit", "--json", cwd=tmp_path, **stack.settings.to_environ())
    assert shown.returncode == 0, shown.stdout + shown.stderr
    told = json.loads(shown.stdout)
    assert told["clean"] is True
    assert told["figures"]["events"] >= 1_003
    assert told["places"]["ClickHouse"]["items"] == told["places"]["phone-ledger"]["items"]
    people = phonemeter("audit", cwd=tmp_path, **stack.settings.to_environ())
    assert people.returncode == 0
    assert people.stdout.startswith("The ledger is what the rules say.\nAudited: ")


@pytest.mark.stack
def test_every_hour_means_metrics_until_sigterm(
    stack: Stack, free_port: Callable[[], int], tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "phonemeter", "audit", "--every", "1h", "--port", str(port)]
    environ = os.environ | stack.settings.to_environ()
    process = subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            blocking_until(lambda: _last_clean_s(port) > 0, 30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        assert "The ledger is what the rules say." in process.stderr.read()


def _last_clean_s(port: int) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as reply:
            text = reply.read().decode()
    except (urllib.error.URLError, OSError):
        return 0.0
    name = "phonemeter_audit_last_clean_timestamp_seconds "
    return float(next(line.removeprefix(name) for line in text.splitlines() if line.startswith(name)))


def test_kafka_that_is_away_is_told_in_one_sentence(free_port: Callable[[], int], tmp_path: Path) -> None:
    shown = phonemeter("audit", cwd=tmp_path, PHONEMETER_KAFKA=f"127.0.0.1:{free_port()}")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.count("\n") == 1
    assert "does not answer" in shown.stderr


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("2d", 172_800)])
def test_a_time_between_audits_has_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "0h", "-1h", "1.5h", "1w", "h"])
def test_another_time_between_audits_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write a number and a unit"):
        seconds_of(text)
