"""The audit on topics that are not as they have to be: it tells that and does its work. Real parts."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metering.topics import EVENTS
from phonemeter.settings import Settings
from tests.metering.building import APP, at, purchased, succeeded
from tests.phonemeter.audit.parts import World, audit_settings
from tests.phonemeter.cli.test_main import phonemeter
from tests.phonemeter.stack.test_topics import configure
from tests.served import asked
from tests.waiting import WITHIN_S, blocking_until

KEY = APP.encode()
BREACH = f"Topic {EVENTS} has message.timestamp.type=CreateTime"

settings = audit_settings


def health(port: int) -> tuple[int, dict[str, Any]]:
    """The service's word on itself; empty while it does not answer."""
    try:
        return asked(port, "/healthz")
    except OSError:
        return 0, {"problems": []}


def test_a_topic_on_the_producers_clock_is_told_and_the_audit_goes_on(
    settings: Settings, free_port: Callable[[], int], tmp_path: Path
) -> None:
    port = free_port()
    with World(settings) as world:
        world.happens([(KEY, purchased(at(1), "p1")), (KEY, succeeded(at(2), event_id="tap-1"))])
        world.all_is_right()
    configure(settings.kafka, EVENTS, message_timestamp_type="CreateTime")
    command = [sys.executable, "-m", "phonemeter", "audit", "--every", "1h", "--port", str(port)]
    environ = os.environ | settings.to_environ()
    process = subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            blocking_until(
                lambda: (
                    any(one["sentence"].startswith(BREACH) for one in health(port)[1]["problems"])
                    and health(port)[1].get("state") == "unhealthy"
                )
            )
            assert health(port)[0] == 503
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        log = process.stderr.read()
    assert BREACH in log
    assert "The ledger is what the rules say." in log
    once = phonemeter("audit", cwd=tmp_path, **settings.to_environ())
    assert (once.returncode, once.stderr) == (0, "")
