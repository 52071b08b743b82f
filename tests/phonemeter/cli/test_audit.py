"""`phonemeter audit` on the real stack."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from kafka import KafkaProducer

from metering.placement import partition_of
from metering.topics import EVENTS
from phonemeter.cli.audit import parse_interval_s
from phonemeter.errors import UserError
from phonemeter.stack.stack import Stack
from sinks.connection import connect
from tests.metering.building import at, purchased, succeeded
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.calling import Phonemeter
from tests.served import scraped
from tests.waiting import WITHIN_S, blocking_until

DAMAGE = (
    "INSERT INTO ledger SELECT * FROM ledger WHERE event_id = %(doubled)s",
    "ALTER TABLE ledger UPDATE amount_micro_yuan = 7 WHERE event_id = %(altered)s",
    "ALTER TABLE ledger DELETE WHERE event_id = %(deleted)s",
)


def emit(phonemeter: Phonemeter, stack: Stack, lines: list[bytes], tmp_path: Path) -> None:
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


def test_a_run_through_the_stack_is_clean(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    emit(phonemeter, stack, traffic(app), tmp_path)
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


@contextmanager
def traffic_meanwhile(stack: Stack, app: str) -> Iterator[None]:
    """Events of an app, one after the other, for as long as the block runs."""
    ended = threading.Event()
    partition = partition_of(app.encode(), stack.settings.partitions)

    def produce() -> None:
        producer = KafkaProducer(bootstrap_servers=stack.settings.kafka, acks="all")
        for n in count():
            value = succeeded(at(3, ms=n), app=app, event_id=f"meanwhile-{app}-{n}")
            producer.send(EVENTS, key=app.encode(), value=value, partition=partition).get(timeout=WITHIN_S)
            if ended.is_set():
                break
        producer.close()

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_damage_is_named_and_repaired_while_traffic_goes_on(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    emit(phonemeter, stack, traffic(app), tmp_path)
    settled(stack.settings)
    with connect(stack.settings.clickhouse) as client:
        names = {"doubled": f"tap-{app}-3", "altered": f"tap-{app}-1000", "deleted": f"tap-{app}-5"}
        for statement in DAMAGE:
            client.execute(statement, names, settings={"mutations_sync": 2})
    environ = stack.settings.to_environ()
    shown = phonemeter("audit", cwd=tmp_path, **environ)
    assert shown.returncode == 1
    for named in (
        f"app {app}, 2023-08-28 (Shanghai), pack pack-{app}: 2 entries, 2 events, 2 calls charged, ¥0.030007",
        f"trial_charge of event tap-{app}-5.",
        f"charge of event tap-{app}-1000: amount_micro_yuan is 7 and should be 30000.",
        "1 altered, 1 there twice or more, 1 missing",
    ):
        assert named in shown.stdout, shown.stdout
    with traffic_meanwhile(stack, app):
        repair_result = phonemeter("audit", "--repair", cwd=tmp_path, **environ)
    assert repair_result.returncode == 0, repair_result.stdout + repair_result.stderr
    assert repair_result.stdout.startswith("The ledger is what the rules say.")
    assert "The ledger in ClickHouse was built again" in repair_result.stderr
    report = settled(stack.settings)
    assert report.clean, report.places


def test_an_end_that_clickhouse_lost_is_restored_by_the_sink_that_runs(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    emit(phonemeter, stack, traffic(app), tmp_path)
    settled(stack.settings)
    partition = partition_of(app.encode(), stack.settings.partitions)
    with connect(stack.settings.clickhouse) as client:
        lost = f"source_partition = {partition} AND appid = '{app}'"
        client.execute(f"ALTER TABLE ledger DELETE WHERE {lost} SETTINGS mutations_sync = 2")
    repair_result = phonemeter("audit", "--repair", "--json", cwd=tmp_path, **stack.settings.to_environ())
    assert repair_result.returncode == 0, repair_result.stdout + repair_result.stderr
    emit(phonemeter, stack, [succeeded(at(9), app=app, event_id=f"later-{app}")], tmp_path)
    assert settled(stack.settings).clean


def test_every_hour_means_metrics_until_sigterm(
    stack: Stack, free_port: Callable[[], int], tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "phonemeter", "audit", "--every", "1h", "--port", str(port)]
    environ = os.environ | stack.settings.to_environ()
    process = subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            blocking_until(lambda: scraped(port).get("phonemeter_audit_last_clean_timestamp_seconds", 0) > 0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        assert "The ledger is what the rules say." in process.stderr.read()


def test_a_repair_is_not_done_every_hour(phonemeter: Phonemeter, tmp_path: Path) -> None:
    shown = phonemeter("audit", "--repair", "--every", "1h", cwd=tmp_path)
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)


def test_kafka_that_is_away_is_told_in_one_sentence(
    phonemeter: Phonemeter, free_port: Callable[[], int], tmp_path: Path
) -> None:
    shown = phonemeter("audit", cwd=tmp_path, PHONEMETER_KAFKA=f"127.0.0.1:{free_port()}")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.count("\n") == 1
    assert "does not answer" in shown.stderr


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("2d", 172_800)])
def test_a_time_between_audits_has_a_unit(text: str, seconds: float) -> None:
    assert parse_interval_s(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "0h", "-1h", "1.5h", "1w", "h"])
def test_another_time_between_audits_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write a number and a unit"):
        parse_interval_s(text)
