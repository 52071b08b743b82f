"""The settler's loop, with a hand-moved clock and a ledger that a test writes."""

import threading
from collections.abc import Sequence

import pytest
from kafka.errors import KafkaTimeoutError

from metering.preconditions import SETTLER_TOPICS, BrokerView
from sinks.errors import ClickHouseError
from sinks.preconditions import Preconditions
from sinks.settler.ledger import UnsettledApp
from sinks.settler.metrics import Metrics
from sinks.settler.settler import SEEN_S_MAX, Settler
from sinks.settler.work import Settlement, StoppedError, TooLargeError


class Bench:
    """A settler whose ledger, clock and work are the test's."""

    def __init__(self) -> None:
        self.apps: list[UnsettledApp] = []
        self.now_s = 100.0
        self.failure: Exception | None = None
        self.too_large: set[str] = set()
        self.broken: set[str] = set()
        self.mistaken: set[str] = set()
        self.stops = False
        self.took_s: dict[str, float] = {}
        self.parts = 1
        self.expected: list[str] = []
        self.order: list[str] = []
        self.published: list[tuple[str, int, Sequence[bytes]]] = []
        self.stop = threading.Event()
        self.metrics = Metrics(lambda: self.now_s)
        preconditions = Preconditions(SETTLER_TOPICS, lambda: BrokerView({}))
        self.metrics.health.judge_by(preconditions, self.metrics.problems)
        self.settler = Settler(self, self, self, self.metrics, self.stop, 0.0, lambda: self.now_s)

    def unsettled(self) -> list[UnsettledApp]:
        if self.failure is not None:
            raise self.failure
        return self.apps

    def publish(self, appid: str, partition: int, events: Sequence[bytes]) -> None:
        self.published.append((appid, partition, events))

    def expect(self, apps: Sequence[UnsettledApp]) -> None:
        self.expected = [app.appid for app in apps]

    def __call__(self, app: UnsettledApp) -> Settlement | None:
        self.order.append(app.appid)
        self.now_s += self.took_s.get(app.appid, 0.1)
        if self.stops:
            raise StoppedError
        if app.appid in self.broken:
            raise ClickHouseError("memory limit exceeded")
        if app.appid in self.mistaken:
            raise KeyError("")
        if app.appid in self.too_large:
            raise TooLargeError("it has too many sums")
        return Settlement(self.ids(app.appid), [b"{}"], 7, 2, 10)

    def ids(self, appid: str) -> list[str]:
        name = f"id-of-{appid}-{len(self.published)}"
        return [f"{name}-{part}" for part in range(self.parts)]

    def count(self, outcome: str) -> float:
        name = "phonemeter_settler_settlements_total"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0

    def sentences(self) -> list[str]:
        return [problem.sentence for problem in self.metrics.problems()]


def unsettled(appid: str, outcome_id: str = "", refusal: str = "", offset: int = 6) -> UnsettledApp:
    return UnsettledApp(appid, 1, 1_000, 5, -1, offset if outcome_id else -1, outcome_id, refusal)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_app_is_worked_out_once_while_its_settlement_is_on_its_way(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    bench.settler.turn()
    assert bench.published == [("wx1", 1, [b"{}"])]


def test_the_apps_of_a_round_are_expected_in_their_order_without_those_on_their_way(bench: Bench) -> None:
    bench.took_s = {"wx1": 9.0}
    bench.apps = [unsettled("wx1"), unsettled("wx2")]
    bench.settler.turn()
    assert bench.expected == bench.order == ["wx1", "wx2"]
    done = [unsettled(appid, outcome_id=f"id-of-{appid}") for appid in ("wx1", "wx2")]
    bench.apps = [*done, unsettled("wx3")]
    bench.settler.turn()
    assert bench.expected == ["wx3", "wx2", "wx1"]
    bench.settler.turn()
    assert bench.expected == []


def test_a_settlement_that_left_the_app_unsettled_is_followed_by_another(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    bench.apps = [unsettled("wx1", outcome_id="id-of-wx1-0-0")]
    bench.settler.turn()
    assert (len(bench.published), bench.count("applied")) == (2, 1)


def test_a_settlement_in_parts_is_applied_when_its_last_part_is(bench: Bench) -> None:
    bench.parts = 2
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    bench.apps = [unsettled("wx1", outcome_id="id-of-wx1-0-0", offset=6)]
    bench.settler.turn()
    assert (len(bench.published), bench.count("applied")) == (1, 0)
    bench.apps = [unsettled("wx1", outcome_id="id-of-wx1-0-1", offset=7)]
    bench.settler.turn()
    assert (len(bench.published), bench.count("applied")) == (2, 1)


def test_another_settlers_outcome_ends_the_wait(bench: Bench) -> None:
    bench.apps = [unsettled("wx1", outcome_id="earlier", offset=6)]
    bench.settler.turn()
    bench.apps = [unsettled("wx1", outcome_id="another", offset=9)]
    bench.settler.turn()
    assert (len(bench.published), bench.count("overtaken")) == (2, 1)


def test_the_outcome_is_known_by_the_first_digits_of_its_id(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    bench.apps = [unsettled("wx1", outcome_id="id-of-wx1")]
    bench.settler.turn()
    assert bench.count("applied") == 1


def test_a_refused_settlement_is_worked_out_again_and_the_reason_is_told(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    bench.apps = [unsettled("wx1", outcome_id="id-of-wx1-0-0", refusal="overtaken")]
    bench.settler.turn()
    bench.now_s += 61
    assert (len(bench.published), bench.count("refused")) == (2, 1)
    (sentence,) = bench.sentences()
    assert "wx1 for 61 s: its last settlement was refused (overtaken)." in sentence


def test_a_settlement_that_is_not_seen_in_time_is_worked_out_again(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    bench.now_s += SEEN_S_MAX + 1
    bench.settler.turn()
    assert (len(bench.published), bench.count("unseen")) == (2, 1)


def test_an_app_that_is_settled_counts_as_applied_and_waits_no_more(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    bench.apps = []
    bench.settler.turn()
    assert bench.count("applied") == 1
    assert bench.metrics.registry.get_sample_value("phonemeter_settler_unsettled_apps") == 0
    assert bench.metrics.health.verdict().state == "healthy"


def test_an_app_that_takes_long_comes_after_the_others(bench: Bench) -> None:
    bench.apps = [unsettled("wx-large"), unsettled("wx-small")]
    bench.took_s["wx-large"] = 30.0
    bench.settler.turn()
    bench.now_s += SEEN_S_MAX + 1
    bench.apps.append(unsettled("wx-new"))
    bench.settler.turn()
    assert bench.order == ["wx-large", "wx-small", "wx-new", "wx-small", "wx-large"]


def test_an_app_that_is_too_large_is_named_after_a_minute_and_stops_no_other(bench: Bench) -> None:
    bench.apps = [unsettled("wx-large"), unsettled("wx-small")]
    bench.too_large.add("wx-large")
    bench.settler.turn()
    assert [appid for appid, _, _ in bench.published] == ["wx-small"]
    assert bench.sentences() == []
    bench.apps = [unsettled("wx-large")]
    bench.now_s += 61
    bench.settler.turn()
    (sentence,) = bench.sentences()
    assert sentence == (
        "Apps that have been unsettled for more than a minute: 1, wx-large for 61 s: it has too many sums."
    )


def test_an_app_that_meets_a_mistake_of_the_program_is_named_and_stops_no_other(bench: Bench) -> None:
    bench.mistaken = {"wx1"}
    bench.apps = [unsettled("wx1"), unsettled("wx2")]
    bench.settler.turn()
    assert [appid for appid, _, _ in bench.published] == ["wx2"]
    bench.now_s += 61
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    (sentence,) = bench.sentences()
    assert "wx1" in sentence
    assert "a mistake in phonemeter, KeyError ('') in test_settler.py, line " in sentence
    bench.mistaken = set()
    bench.settler.turn()
    assert [appid for appid, _, _ in bench.published] == ["wx2", "wx1"]


def test_a_busy_app_waits_only_since_its_last_settlement_was_read(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.settler.turn()
    for turn in range(10):
        bench.now_s += 10
        bench.apps = [unsettled("wx1", outcome_id=f"id-of-wx1-{turn}-0", offset=6 + turn)]
        bench.settler.turn()
    oldest_s = bench.metrics.registry.get_sample_value("phonemeter_settler_oldest_unsettled_seconds")
    assert oldest_s is not None
    assert oldest_s < 20
    assert bench.sentences() == []


def test_a_settler_that_is_to_end_leaves_the_app_that_it_reads(bench: Bench) -> None:
    bench.apps = [unsettled("wx1")]
    bench.stops = True
    bench.settler.turn()
    assert bench.published == []


def test_an_app_whose_reading_fails_stops_no_other(bench: Bench) -> None:
    bench.apps = [unsettled("wx-broken"), unsettled("wx1")]
    bench.broken.add("wx-broken")
    with pytest.raises(ClickHouseError):
        bench.settler.turn()
    with pytest.raises(ClickHouseError):
        bench.settler.turn()
    assert [appid for appid, _, _ in bench.published] == ["wx1"]


@pytest.mark.parametrize(
    ("failure", "server"), [(ClickHouseError("away"), "clickhouse"), (KafkaTimeoutError("away"), "kafka")]
)
def test_a_server_that_is_away_is_tried_again(bench: Bench, failure: Exception, server: str) -> None:
    class StopsAtTheFirstPause(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            del timeout
            self.set()
            return True

    bench.failure = failure
    stop = StopsAtTheFirstPause()
    Settler(bench, bench, bench, bench.metrics, stop, 0.0, lambda: bench.now_s).run()
    name = "phonemeter_settler_errors_total"
    assert bench.metrics.registry.get_sample_value(name, {"server": server}) == 1
    assert bench.metrics.health.verdict().problems[0].sentence.endswith("away.")
