"""The routes file while the notifier runs: a valid change takes effect, an invalid one changes nothing."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from sinks.notifier.current_routes import CHECK_S, CurrentRoutes
from sinks.notifier.errors import RoutesError
from sinks.notifier.metrics import Metrics
from tests.conftest import RunningKafka
from tests.served import scraped
from tests.sinks.notifier.parts import (
    SECRET,
    SECRET_VARIABLE,
    Receiver,
    alert,
    notifier_thread,
    publish,
    webhook_routes,
)
from tests.waiting import blocking_until

URL = "https://alerts.example.com/in"


class RunningRoutes:
    """Current routes with a clock that the test sets."""

    def __init__(self, path: Path | None) -> None:
        self.now_s = 0.0
        self.metrics = Metrics()
        self.current = CurrentRoutes(path, self.metrics, lambda: self.now_s)

    def names(self, checks: int = 2) -> list[str]:
        """The routes in effect after so many checks of the file."""
        for _ in range(checks):
            self.now_s += CHECK_S
            self.current()
        routes = self.current()
        return [] if routes is None else list(routes.routes)

    def value(self, metric: str) -> float:
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        return next(float(line.split(" ")[1]) for line in lines if line.startswith(f"{metric} "))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    return webhook_routes(tmp_path / "routes.toml", URL, "one")


def test_a_change_takes_effect_once_the_file_is_at_rest(file: Path) -> None:
    running = RunningRoutes(file)
    assert running.value("phonemeter_notifier_routes") == 1
    file.write_text("")
    assert running.names(checks=1) == ["one"]
    webhook_routes(file, URL, "another")
    assert running.names(checks=1) == ["one"]
    assert running.names(checks=1) == ["another"]
    file.write_text("")
    assert running.names() == []
    assert running.value("phonemeter_notifier_routes") == 0


def test_a_broken_file_changes_nothing_but_a_metric_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = RunningRoutes(file)
    file.write_text("[routes")
    assert running.names(checks=6) == ["one"]
    assert running.value("phonemeter_notifier_routes_refused") == 1
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.getMessage().startswith(f"The previous routes stay in effect: {file} is not valid TOML: ")
    file.unlink()
    assert running.names() == ["one"]
    webhook_routes(file, URL, "another")
    assert running.names() == ["another"]
    assert running.value("phonemeter_notifier_routes_refused") == 0


def test_a_secret_that_changes_in_a_file_takes_effect_as_well(file: Path) -> None:
    another = SECRET[:-4] + "AAA="
    (file.parent / "secret").write_text(SECRET)
    file.write_text(file.read_text().replace(f"env:{SECRET_VARIABLE}", "file:secret"))
    running = RunningRoutes(file)
    (file.parent / "secret").write_text(f"{another}\n")
    running.names()
    routes = running.current()
    assert routes is not None
    assert routes.routes["one"].secrets == (another,)
    (file.parent / "secret").unlink()
    running.names()
    assert running.value("phonemeter_notifier_routes_refused") == 1
    (file.parent / "secret").write_text(SECRET)
    running.names()
    assert running.value("phonemeter_notifier_routes_refused") == 0


def test_without_a_file_there_are_no_routes_and_a_wrong_one_is_refused_at_the_start(file: Path) -> None:
    assert RunningRoutes(None).current() is None
    file.write_text("[routes")
    with pytest.raises(RoutesError):
        RunningRoutes(file)


def test_a_running_notifier_survives_a_mistake_and_reads_its_correction(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with Receiver() as before, Receiver() as after:
        path = webhook_routes(tmp_path / "routes.toml", before.url)
        with notifier_thread(monkeypatch, topics.bootstrap, path, port):
            refused = "phonemeter_notifier_routes_refused"
            blocking_until(lambda: scraped(port).get(refused) == 0)
            path.write_text("[routes")
            blocking_until(lambda: scraped(port).get(refused) == 1)
            publish(topics.bootstrap, [alert(1)])
            blocking_until(lambda: before.alert_ids() == ["0-1-0"])
            webhook_routes(path, after.url, "elsewhere")
            blocking_until(lambda: scraped(port).get(refused) == 0)
            publish(topics.bootstrap, [alert(2)])
            blocking_until(lambda: after.alert_ids() == ["0-2-0"])
        assert before.alert_ids() == ["0-1-0"]
