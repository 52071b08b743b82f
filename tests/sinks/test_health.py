"""Health of a service of this stage, also over HTTP; clocks are moved by hand."""

import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from metering.health import Problem
from metering.health_checks import HealthLimits
from metering.preconditions import BrokerView, FoundTopic, required_config
from metering.topics import ALERTS, ALL
from sinks.health import Health
from sinks.health_inputs import UnreadablePartitions
from sinks.metrics import Metrics
from sinks.metrics_server import serve_metrics
from sinks.notifier.metrics import Metrics as NotifierMetrics
from sinks.preconditions import Preconditions
from tests.served import asked

GAUGE = "phonemeter_sink_healthy"


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def preconditions() -> Preconditions:
    topics = {topic.name: FoundTopic(4, 1, required_config(topic)) for topic in ALL}
    seen = Preconditions({topic.name for topic in ALL}, lambda: BrokerView(topics, "cluster-1"))
    seen.require()
    return seen


def sink(clock: Clock) -> Metrics:
    metrics = Metrics(clock, clock)
    metrics.health.judge_by(preconditions(), lambda: metrics.problems(HealthLimits()))
    return metrics


def problems(metrics: Metrics) -> list[str]:
    return [problem.sentence for problem in metrics.health.verdict().problems]


def test_a_service_is_starting_until_its_loop_made_a_turn_and_names_what_it_waits_for() -> None:
    metrics = sink(Clock())
    metrics.health.set_waiting("Kafka: nobody answers.")
    assert metrics.health.verdict().state == "starting"
    assert problems(metrics) == ["The sink is starting: Kafka: nobody answers."]
    assert metrics.registry.get_sample_value(GAUGE, {"promise": "started"}) == 0
    assert metrics.registry.get_sample_value(GAUGE, {"promise": "fresh"}) is None
    metrics.health.record_turn()
    assert metrics.health.verdict().state == "healthy"
    assert metrics.health.verdict().cluster == "cluster-1"
    assert metrics.registry.get_sample_value(GAUGE, {"promise": "fresh"}) == 1


def test_a_sink_that_hangs_reports_it_with_the_reason() -> None:
    clock = Clock()
    metrics = sink(clock)
    metrics.health.record_turn()
    metrics.health.record_failure("Kafka: not the leader.")
    clock.now_s += 61
    assert problems(metrics) == ["The sink has made no progress for 61 s: Kafka: not the leader."]
    metrics.health.record_turn()
    assert problems(metrics) == []


def test_a_stopped_partition_is_reported_until_it_restarts_or_is_revoked() -> None:
    metrics = sink(Clock())
    metrics.health.record_turn()
    metrics.set_lag(0, 7, 3)
    metrics.mark_stopped(0, "record 7: it is not a ledger record.")
    assert problems(metrics) == [
        "Partition 0 of phone-ledger is stopped at record 7: it is not a ledger record."
    ]
    metrics.restart_partition(0)
    assert problems(metrics) == []
    metrics.mark_stopped(0, "record 7.")
    metrics.forget_partition(0)
    assert problems(metrics) == []


def test_a_partition_stalls_since_it_last_moved_or_had_no_backlog() -> None:
    clock = Clock()
    metrics = sink(clock)
    metrics.set_lag(0, 7, 0)
    clock.now_s += 100
    metrics.set_lag(0, 7, 2)
    clock.now_s += 50
    metrics.set_lag(0, 8, 2)
    clock.now_s += 50
    metrics.health.record_turn()
    # It moved 50 s ago, but the oldest record has waited for longer.
    assert [one.promise for one in metrics.health.verdict().problems] == ["fresh"]
    clock.now_s += 20
    metrics.health.record_turn()
    assert [one.promise for one in metrics.health.verdict().problems] == ["advancing"]


def test_a_partition_is_reported_once_it_could_not_be_read_for_a_while() -> None:
    clock = Clock()
    metrics = sink(clock)
    metrics.mark_unreadable(0, "no broker leads it")
    clock.now_s += 50
    metrics.mark_unreadable(0, "no broker leads it.")
    metrics.health.record_turn()
    assert problems(metrics) == []
    clock.now_s += 20
    metrics.health.record_turn()
    assert problems(metrics) == [
        "Partition 0 of phone-ledger could not be read for 70 s: no broker leads it."
    ]
    metrics.restart_partition(0)
    assert problems(metrics) == []
    metrics.mark_unreadable(0, "no broker leads it")
    metrics.forget_partition(0)
    clock.now_s += 100
    metrics.health.record_turn()
    assert problems(metrics) == []


def test_a_notifier_reports_alerts_that_it_cannot_begin_to_read() -> None:
    clock = Clock()
    metrics = NotifierMetrics()
    metrics.unreadable = UnreadablePartitions(ALERTS, clock)
    metrics.unreadable.add(2, "kafka-python failed with KeyError")
    clock.now_s += 61
    assert [one.sentence for one in metrics.problems("")] == [
        "Partition 2 of phone-alerts could not be read for 61 s: kafka-python failed with KeyError."
    ]
    metrics.unreadable.remove(2)
    assert not list(metrics.problems(""))


def test_a_clickhouse_that_is_away_is_the_reason_for_all_that_waits() -> None:
    clock = Clock()
    metrics = sink(clock)
    metrics.health.record_turn()
    metrics.set_lag(0, 7, 2)
    metrics.mark_clickhouse_down("Connection refused")
    assert problems(metrics) == []
    clock.now_s += 100
    metrics.mark_clickhouse_down("Connection refused")
    assert problems(metrics) == ["ClickHouse has accepted nothing for 100 s: Connection refused."]
    metrics.mark_clickhouse_up()
    metrics.set_lag(0, 9, 0)
    metrics.health.record_turn()
    assert problems(metrics) == []


def test_health_is_served_beside_the_metrics(free_port: Callable[[], int]) -> None:
    found: list[Problem] = []
    metrics = Metrics()
    health = Health("phonemeter_other_healthy", "sink")
    health.judge_by(preconditions(), lambda: found)
    port = free_port()
    with serve_metrics(metrics.registry, health.verdict, "127.0.0.1", port, service="sink", setting="X"):
        assert asked(port, "/livez") == (200, {"state": "alive"})
        status, document = asked(port, "/readyz")
        assert (status, document["state"]) == (503, "starting")
        assert asked(port, "/healthz")[0] == 503
        health.record_turn()
        assert asked(port, "/readyz")[0] == asked(port, "/healthz")[0] == 200
        found.append(Problem("advancing", "Partition 3 stands.", 3))
        assert asked(port, "/readyz")[0] == 200
        assert asked(port, "/healthz") == (
            503,
            {
                "service": "sink",
                "state": "unhealthy",
                "problems": [{"promise": "advancing", "sentence": "Partition 3 stands.", "partition": 3}],
                "notices": [],
                "cluster": "cluster-1",
            },
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            assert b"phonemeter_sink_healthy" in reply.read()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_health_is_served_in_both_families_of_addresses(host: str, free_port: Callable[[], int]) -> None:
    port = free_port()
    with serve_metrics(
        Metrics().registry, sink(Clock()).health.verdict, host, port, service="sink", setting="X"
    ):
        at = f"[{host}]" if ":" in host else host
        with urllib.request.urlopen(f"http://{at}:{port}/livez", timeout=10) as reply:
            assert reply.status == 200
