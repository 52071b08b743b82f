import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

import pytest

PROGRAM = """\
import logging, sys
from phonemeter import log_lines
from phonemeter.cli.failures import report
from phonemeter.errors import UserError

log_lines.use_utc()
log_lines.configure(sys.argv[1], "sink")
log = logging.getLogger("sinks.sink")
log.info("stored %d lines of 门店", 3, extra={"partition": 2})
try:
    raise ValueError("two\\nlines")
except ValueError:
    log.exception("not stored")
logging.getLogger("uvicorn.error").warning("not shown")
sys.exit(report(UserError("The sink stops.")))
"""


def logged(log_format: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TZ": "Asia/Shanghai"},
    )
    assert ran.returncode == 2, ran.stderr
    return ran.stderr.splitlines()


def test_a_json_line_is_one_object_with_its_fields_and_the_last_sentence_is_one_too() -> None:
    stored, failed, said = map(json.loads, logged("json"))
    assert stored == {
        "time": stored["time"],
        "level": "INFO",
        "logger": "sinks.sink",
        "message": "stored 3 lines of 门店",
        "service": "sink",
        "partition": 2,
    }
    time = datetime.fromisoformat(stored["time"])
    assert time.utcoffset() is not None
    assert abs((datetime.now(UTC) - time).total_seconds()) < 3_600
    assert failed["exception"].endswith("ValueError: two\nlines")
    assert (said["level"], said["message"]) == ("CRITICAL", "The sink stops.")


def test_a_line_of_text_has_its_zone_and_the_last_sentence_stands_alone() -> None:
    stored, *_, said = logged("text")
    time, _, rest = stored.partition(" ")
    assert time.endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()) < 3_600
    assert rest == "INFO sinks.sink: stored 3 lines of 门店"
    assert said == "The sink stops."


@pytest.mark.stack
def test_a_worker_without_kafka_logs_nothing_but_json_and_writes_no_file(
    free_port: Callable[[], int], tmp_path: Path
) -> None:
    """Faust configures the log of its process, so its lines are looked at where they come out."""
    told = {"LOG_FORMAT": "json", "KAFKA": "127.0.0.1:1", "WORKER_PORT": str(free_port())}
    worker = subprocess.Popen(
        [sys.executable, "-m", "phonemeter", "worker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **{f"PHONEMETER_{name}": value for name, value in told.items()}},
    )
    with worker:
        assert worker.stdout is not None
        # Its web server starts after the directories that Faust would create.
        lines = list(takewhile(lambda line: "Web]: Starting" not in line, worker.stdout))
        worker.terminate()
        lines += worker.stdout.readlines()
    assert list(tmp_path.iterdir()) == []
    read = [json.loads(line) for line in lines]
    assert {line["service"] for line in read} == {"worker"}
    assert {"faust.worker"} < {line["logger"] for line in read}
