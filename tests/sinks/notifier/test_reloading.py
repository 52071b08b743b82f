"""The file of routes while the notifier runs: what is right is taken, what is wrong changes nothing."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from sinks.notifier.errors import RoutesError
from sinks.notifier.metrics import Metrics
from sinks.notifier.reloading import LOOK_S, CurrentRoutes
from tests.conftest import RunningKafka
from tests.sinks.notifier.parts import (
    SECRET,
    SECRET_VARIABLE,
    Receiver,
    alert,
    notifier_thread,
    publish,
    scraped,
    webhook_routes,
)
from tests.waiting import blocking_until

URL = "https://alerts.example.com/in"


class Running:
    """Current routes with a clock that is moved by hand."""

    def __init__(self, path: Path | None) -> None:
        self.now_s = 0.0
        self.metrics = Metrics()
        self.current = CurrentRoutes(path, self.metrics, lambda: self.now_s)

    def names(self, looks: int = 2) -> list[str]:
        """The routes in effect after so many looks at the file."""
        for _ in range(looks):
            self.now_s += LOOK_S
            self.current()
        routes = self.current()
        return [] if routes is None else list(routes.routes)

    def told(self, metric: str) -> float:
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        return next(float(line.split(" ")[1]) for line in lines if line.startswith(f"{metric} "))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    return webhook_routes(tmp_path / "routes.toml", URL, "one")


def test_a_change_is_taken_once_it_has_rested(file: Path) -> None:
    running = Running(file)
    assert running.told("phonemeter_notifier_routes") == 1
    file.write_text("")
    assert running.names(looks=1) == ["one"]
    webhook_routes(file, URL, "another")
    assert running.names(looks=1) == ["one"]
    assert running.names(looks=1) == ["another"]
    file.write_text("")
    assert running.names() == []
    assert running.told("phonemeter_notifier_routes") == 0


def test_a_broken_file_changes_nothing_but_a_metric_and_is_told_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(file)
    file.write_text("[routes")
    assert running.names(looks=6) == ["one"]
    assert running.told("phonemeter_notifier_routes_refused") == 1
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert said.getMessage().startswith(f"The routes stay as they were: {file} is not valid TOML: ")
    file.unlink()
    assert running.names() == ["one"]
    webhook_routes(file, URL, "another")
    assert running.names() == ["another"]
    assert running.told("phonemeter_notifier_routes_refused") == 0


def test_a_secret_that_changes_in_a_file_is_taken_as_well(file: Path) -> None:
    another = SECRET[:-4] + "AAA="
    (file.parent / "secret").write_text(SECRET)
    file.write_text(file.read_text().replace(f"env:{SECRET_VARIABLE}", "file:secret"))
    running = Running(file)
    (file.parent / "secret").write_text(f"{another}\n")
    running.names()
    routes = running.current()
    assert routes is not None
    assert routes.routes["one"].secrets == (another,)
    (file.parent / "secret").unlink()
    running.names()
    assert running.told("phonemeter_notifier_routes_refused") == 1
    (file.parent / "secret").write_text(SECRET)
    running.names()
    assert running.told("phonemeter_notifier_routes_refused") == 0


def test_without_a_file_there_are_no_routes_and_a_wrong_one_is_refused_at_the_start(file: Path) -> None:
    assert Running(None).current() is None
    file.write_text("[routes")
    with pytest.raises(RoutesError):
        Running(file)


@pytest.mark.stack
def test_a_running_notifier_goes_on_through_a_mistake_and_takes_its_correction(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with Receiver() as before, Receiver() as after:
        path = webhook_routes(tmp_path / "routes.toml", before.url)
        with notifier_thread(monkeypatch, topics.bootstrap, path, port):
            refused = "phonemeter_notifier_routes_refused"
            blocking_until(lambda: scraped(port).get(refused) == 0, within_s=30)
            path.write_text("[routes")
            blocking_until(lambda: scraped(port)[refused] == 1, within_s=20)
            publish(topics.bootstrap, [alert(1)])
            blocking_until(lambda: before.alert_ids() == ["0-1-0"], within_s=20)
            webhook_routes(path, after.url, "elsewhere")
            blocking_until(lambda: scraped(port)[refused] == 0, within_s=20)
            publish(topics.bootstrap, [alert(2)])
            blocking_until(lambda: after.alert_ids() == ["0-2-0"], within_s=20)
        assert before.alert_ids() == ["0-1-0"]
