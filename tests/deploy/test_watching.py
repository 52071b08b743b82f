"""Prometheus and Alertmanager for real: a sink that stops is told, what follows is not, and it ends."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phonemeter.stack.stack import Stack
from tests.deploy.watching import Watching, watching
from tests.waiting import blocking_until


def phonemeter(stack: Stack, *arguments: str) -> subprocess.Popen[bytes]:
    settings = stack.settings.replaced(audit_balances_interval_s=1)
    return subprocess.Popen(
        [sys.executable, "-m", "phonemeter", *arguments],
        env={**os.environ, **settings.to_environ()},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def audited(stack: Stack, port: int) -> Iterator[None]:
    """The audit as a service, as compose runs it."""
    with phonemeter(stack, "audit", "--every", "1h", "--port", str(port)) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.fixture
def watched(stack: Stack, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Watching]:
    """The stack with an audit, watched as it is deployed."""
    audit = free_port()
    targets = {
        "worker": stack.settings.worker_port,
        "sink": stack.settings.sink_metrics_port,
        "engine": stack.settings.engine_http_port,
        "audit": audit,
    }
    with phonemeter(stack, "simulate", "--apps", "3", "--events", "300", "--seed", "77") as simulated:
        assert simulated.wait() == 0
    with audited(stack, audit), watching(tmp_path, targets, free_port) as running:
        yield running


def test_a_sink_that_stops_raises_one_alert_and_resolves_it_when_it_is_back(
    stack: Stack, watched: Watching
) -> None:
    def becomes(expr: str) -> None:
        blocking_until(lambda: bool(watched.query(expr)))

    becomes("count(up == 1) == 4")
    becomes("sum(phonemeter_worker_records_total) > 0 and sum(phonemeter_worker_lag_records) == 0")
    becomes("sum(phonemeter_sink_freshness_seconds_count) > 0 and max(phonemeter_sink_lag_seconds) == 0")
    becomes("sum(phonemeter_worker_assigned_partitions) > 0 and sum(phonemeter_worker_rebalances_total) > 0")
    becomes("phonemeter_audit_last_timestamp_seconds > 0 and phonemeter_apps >= 3")
    becomes("phonemeter:disk_free:ratio > 0")
    alert = "PhonemeterSinkMissing"
    # On a busy machine the first answer of a service comes after the shortened time an alert takes to fire.
    blocking_until(lambda: not watched.state(alert) and alert not in watched.received.firing())
    told_before = len(watched.received.told)

    def told(status: str) -> int:
        return watched.received.told[told_before:].count(("on-call", alert, status))

    sink = stack._services["sink"]
    stack._loop.run(sink.stop())
    try:
        blocking_until(lambda: told("firing") > 0)
        blocking_until(lambda: watched.state("PhonemeterServiceDown", job="sink") == "suppressed")
    finally:
        stack._loop.run(sink.start())
    blocking_until(lambda: told("resolved") > 0)
    assert told("firing") == 1
    assert watched.unhealthy_rules() == []
