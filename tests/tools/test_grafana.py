"""Grafana's `@grafana/data`: fetched once, as locked, in the version of the Grafana that is deployed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tools import grafana, node_packages, prometheus
from tools.debian import NotToBeHadError

LOCKED = json.loads((grafana.LOCKED / "package-lock.json").read_text(encoding="utf-8"))


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose registry does not answer."""
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """The files of a fetch that matter here."""
    target = tmp_path / "tools" / "grafana"
    (target / "node_modules").mkdir(parents=True)
    for name in node_packages.NAMED:
        shutil.copy(grafana.LOCKED / name, target)
    return target


def test_what_is_fetched_goes_where_make_clean_removes_it() -> None:
    project = Path(grafana.__file__).parents[1]
    assert (project / "Makefile").is_file()
    assert grafana.DIRECTORY.parent == prometheus.DIRECTORY.parent == project / ".tools"


def test_every_package_is_locked_by_version_and_hash_and_by_no_address() -> None:
    packages = {name: one for name, one in LOCKED["packages"].items() if name}
    assert len(packages) > 50
    assert all(one["version"] and one["integrity"].startswith("sha512-") for one in packages.values())
    assert not any("resolved" in one for one in packages.values())


def test_the_panels_are_seen_by_the_version_of_grafana_that_is_deployed() -> None:
    compose = yaml.safe_load((Path(grafana.__file__).parents[1] / "docker-compose.yml").read_text("utf-8"))
    _, _, deployed = compose["services"]["grafana"]["image"].rpartition(":")
    assert LOCKED["packages"]["node_modules/@grafana/data"]["version"] == deployed


@pytest.mark.usefixtures("no_registry")
def test_what_was_fetched_is_taken_without_asking_the_registry(fetched: Path) -> None:
    assert grafana.modules(fetched) == fetched / "node_modules"


@pytest.mark.stack
@pytest.mark.usefixtures("no_registry")
def test_another_lock_file_is_fetched_anew_and_a_failure_leaves_no_half(fetched: Path) -> None:
    (fetched / "package-lock.json").write_text("{}")
    with pytest.raises(NotToBeHadError, match=r"npm could not fetch @grafana/data \(.*check the network"):
        grafana.modules(fetched)
    assert sorted(path.name for path in fetched.parent.iterdir()) == ["grafana", "grafana.lock"]
    assert (fetched / "package-lock.json").read_text() == "{}"
