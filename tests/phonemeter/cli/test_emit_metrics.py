"""`phonemeter emit -`, which may run for long, tells how it does while it runs."""

import socket
import subprocess
import sys
from collections.abc import Callable

from tests.served import scraped
from tests.waiting import blocking_until


def test_refused_lines_are_counted_while_more_are_waited_for(free_port: Callable[[], int]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "phonemeter", "emit", "-", "--dry-run", "--metrics-port", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=-1, stderr=-1) as emitting:
        assert emitting.stdin is not None
        emitting.stdin.write(b"no event\nneither\n")
        emitting.stdin.flush()
        blocking_until(lambda: scraped(port).get('phonemeter_emit_events_total{outcome="refused"}') == 2)
        assert scraped(port)["phonemeter_emit_waiting_events"] == 0
        emitting.communicate()
    assert emitting.returncode == 1


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "phonemeter", "emit", "-", "--dry-run", "--metrics-port", str(port)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"port {port} for the command's metrics cannot be opened" in done.stderr
