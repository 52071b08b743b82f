from pathlib import Path

import pytest

from phonemeter.settings import load
from phonemeter.stack import services
from phonemeter.stack.directory import StackDirectory


def test_the_notifier_runs_where_there_are_routes() -> None:
    assert "notifier" not in services.service_names(load())
    assert "notifier" in services.service_names(load(alert_routes=Path("routes.toml")))


def test_wechats_side_runs_where_there_are_apps_and_its_stand_in_where_it_is_asked_for() -> None:
    assert {"wechat", "wechat-sim"} & set(services.service_names(load())) == set()
    assert "wechat" in services.service_names(load(wechat_apps=Path("apps.toml")))
    everything = load(alert_routes=Path("routes.toml"), wechat_apps=Path("apps.toml"), wechat_sim=True)
    assert services.service_names(everything) == services.ALL


def test_the_notifier_finds_its_file_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(alert_routes=Path("routes.toml"))
    service = services.program("notifier", settings, StackDirectory(tmp_path / "stack"))
    assert service.environ["PHONEMETER_ALERT_ROUTES"] == str(tmp_path / "routes.toml")


def test_every_service_has_ports_and_a_probe() -> None:
    assert services.PORTS.keys() == set(services.ALL) == {*services.DATA, *services.STAGES}
    for name in services.ALL:
        assert callable(services.readiness_probe(name, load()))
