"""docs/how-to/wechat.md: its file of apps is valid, and what it asks the stand-in for exists."""

import re
from pathlib import Path

import pytest

from producers.wechat.api import TROUBLES
from producers.wechat.apps_file import read_apps
from producers.wechat.facts import PUSH_SOURCE, USAGE_SOURCE
from producers.wechat.pushes import EVENTS
from producers.wechat.receiver import PATH
from producers.wechat_sim.demo import OWN_APP, write_files
from producers.wechat_sim.server import FORMATS, MODES, SimulatedServer
from producers.wechat_sim.world import SimulatedWechat
from tests.producers.wechat.parts import AES_KEY

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "wechat.md").read_text(encoding="utf-8")


def test_the_file_on_the_page_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    for name in re.findall(r'"env:(\w+)"', block):
        monkeypatch.setenv(name, AES_KEY)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "refresh_token").write_text("x")
    path = tmp_path / "apps.toml"
    path.write_text(block, encoding="utf-8")
    found = read_apps(path)
    assert (len(found.apps), len(found.components), found.has_pushes) == (2, 1, True)
    assert found.prices["realtime", 1_000, 365] == 40_000_000


def test_the_file_of_the_deployment_and_that_of_the_stand_in_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WECHAT_SECRET", "x")
    assert not read_apps(ROOT / "deploy" / "wechat" / "apps.toml").has_pushes
    assert OWN_APP in read_apps(write_files(tmp_path)).apps


def test_what_the_page_asks_the_stand_in_for_exists() -> None:
    routes = SimulatedServer(SimulatedWechat()).application().router.resources()
    known = {resource.canonical for resource in routes}
    named = set(re.findall(r"/sim/[a-z-]+", PAGE))
    assert len(named) >= 5
    assert named <= known
    assert all(f"`{word}`" in PAGE for word in (*MODES, *FORMATS))
    assert OWN_APP in PAGE


def test_the_page_names_what_the_code_has() -> None:
    for word in (USAGE_SOURCE, PUSH_SOURCE, "charge_service_quota_notify", "charge_mp_service_quota_notify"):
        assert f"`{word}`" in PAGE
    assert {"charge_service_quota_notify", "charge_mp_service_quota_notify"} <= EVENTS
    assert all(str(number) in PAGE for number in TROUBLES)
    assert PATH.partition("{")[0] in PAGE
