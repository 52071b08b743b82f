from pathlib import Path

import pytest

from phonemeter.settings import load
from phonemeter.stack import services
from phonemeter.stack.directory import StackDirectory


def test_the_notifier_runs_where_there_are_routes() -> None:
    assert "notifier" not in services.wanted(load())
    assert services.wanted(load(alert_routes=Path("routes.toml"))) == services.ALL


def test_the_notifier_finds_its_file_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(alert_routes=Path("routes.toml"))
    service = services.ours("notifier", settings, StackDirectory(tmp_path / "stack"))
    assert service.environ["PHONEMETER_ALERT_ROUTES"] == str(tmp_path / "routes.toml")


def test_every_service_has_ports_and_a_probe() -> None:
    assert services.PORTS.keys() == set(services.ALL) == {*services.HOLD, *services.WORK}
    for name in services.ALL:
        assert callable(services.ready(name, load()))
