from pathlib import Path
from typing import Any

import pytest

from sinks.notifier.errors import RoutesError
from sinks.notifier.routes import Routes
from sinks.notifier.routes_file import read_routes
from tests.sinks.notifier.parts import APP, SECRET, alert

HOOK = '[routes.hook]\nchannel = "webhook"\nurl = "https://alerts.example.com/in"\nsecrets = ["env:HOOK"]\n'
ROBOT = '[routes.robot]\nchannel = "wecom"\nurl = "env:ROBOT"\n'
FEISHU = '[routes.f]\nchannel = "feishu"\nurl = "env:FEISHU"\n'


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    monkeypatch.setenv("ROBOT", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=robot-key-hunter2")
    monkeypatch.setenv("DINGTALK", "dingtalk://hunter2@robottoken")
    monkeypatch.setenv("FEISHU", "feishu://robot-token")
    monkeypatch.setenv("NONSENSE", "hunter2")
    monkeypatch.setenv("PLAIN", "mailto://hunter2@mail.example.com")


def read(directory: Path, text: str) -> Routes:
    path = directory / "routes.toml"
    path.write_text(text, encoding="utf-8")
    return read_routes(path)


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(RoutesError) as caught:
        read(directory, text)
    sentence = str(caught.value)
    assert "hunter2" not in sentence
    assert SECRET not in sentence
    assert sentence.startswith(f"{directory / 'routes.toml'}")
    return sentence.removeprefix(f"{directory / 'routes.toml'}")


def wanted(routes: Routes, **changes: Any) -> set[str]:  # noqa: ANN401 - fields of an alert
    """Names of the routes that an alert goes to."""
    return {one.route for one in routes.requests(alert(**changes), now_ms=0)}


def test_a_route_without_filters_wants_everything(tmp_path: Path) -> None:
    routes = read(tmp_path, HOOK + ROBOT)
    assert wanted(routes) == {"hook", "robot"}
    assert SECRET not in repr(routes)
    assert "hunter2" not in repr(routes)


@pytest.mark.parametrize(
    ("filters", "changes", "goes"),
    [
        (f'apps = ["{APP}"]', {}, True),
        (f'apps = ["{APP}"]', {"appid": "wxother"}, False),
        ('owners = ["east"]', {}, True),
        ('owners = ["east"]', {"appid": "wxother"}, False),
        ('alerts = ["run_out"]', {}, False),
        ('alerts = ["run_out", "level"]', {}, True),
        ('severities = ["urgent"]', {}, False),
        ('severities = ["urgent"]', {"details": {"level_percent": 5, "size": 9}}, True),
        ('severities = ["urgent"]', {"reason": "client_burn", "details": {}}, True),
        ('severities = ["info"]', {"kind": "recovery"}, True),
        ('capabilities = ["realtime"]', {}, False),
    ],
)
def test_a_route_gets_what_its_filters_leave(
    tmp_path: Path, filters: str, changes: dict[str, Any], *, goes: bool
) -> None:
    routes = read(tmp_path, f'[apps.{APP}]\nowner = "east"\n{HOOK}{filters}\n')
    assert wanted(routes, **changes) == ({"hook"} if goes else set())


def test_secrets_come_from_files_too_newest_first(tmp_path: Path) -> None:
    (tmp_path / "new").write_text(f"{SECRET}\n")
    routes = read(tmp_path, HOOK.replace('["env:HOOK"]', '["file:new", "env:HOOK"]'))
    assert routes.routes["hook"].secrets == (SECRET, SECRET)
    assert routes.files == (tmp_path / "new",)


def test_a_feishu_robot_may_have_a_secret_of_any_form(tmp_path: Path) -> None:
    routes = read(tmp_path, f'{FEISHU}secrets = ["env:NONSENSE"]\n')
    assert routes.routes["f"].secrets == ("hunter2",)
    assert read(tmp_path, FEISHU).routes["f"].secrets == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("routes = 1", ": routes is not a table; write [routes.NAME] above each entry."),
        ("[rutes.a]", ": rutes is none of apps, routes; remove it, or correct its name."),
        ("[routes", " is not valid TOML: "),
        (f'{HOOK}colour = "red"', ": routes.hook.colour is unknown; known are channel, url, "),
        (f"{HOOK}severity = []", ": routes.hook.severity is unknown; did you mean severities?"),
        (f'{HOOK}alerts = ["levels"]', ": routes.hook.alerts[0]: invalid enum value 'levels'; correct it"),
        (HOOK.replace("webhook", "pager"), ": routes.hook.channel: invalid enum value 'pager'; correct it"),
        (HOOK.replace("env:HOOK", "whsec_hunter2"), ": routes.hook.secrets[0]: a secret is not written here"),
        (HOOK.replace("env:HOOK", "env:NONSENSE"), ": routes.hook.secrets[0]: the secret is not whsec_ and"),
        (HOOK.replace("env:HOOK", "env:MISSING"), ": routes.hook.secrets[0]: the environment has no MISSING"),
        (HOOK.replace("env:HOOK", "file:nowhere"), "/nowhere has no secret that can be used (No such file"),
        (HOOK.replace('["env:HOOK"]', "[]"), ": routes.hook.secrets: a webhook has one to 4 secrets"),
        (
            HOOK.replace("https", "http"),
            ": routes.hook.url: anybody on the way could read what is sent there",
        ),
        (HOOK.replace("https", "ftp"), ": routes.hook.url: that is no address of a webhook route; it looks"),
        (HOOK.replace("hook]", "Hook]"), ": routes.Hook: a route's name is made of at most 64 small letters"),
        (
            ROBOT.replace("env:ROBOT", "wecombot://hunter2"),
            ": routes.robot.url: the address of a wecom route",
        ),
        (ROBOT.replace("wecom", "dingtalk"), ": routes.robot.url: that is no address of a dingtalk route"),
        (ROBOT.replace("ROBOT", "NONSENSE"), ": routes.robot.url: that is no address of a wecom route"),
        (
            f'{ROBOT}secrets = ["env:HOOK"]',
            ": routes.robot.secrets: only webhooks and Feishu robots have some; remove it.",
        ),
        (
            '[routes.d]\nchannel = "dingtalk"\nurl = "env:DINGTALK"\nsecrets = ["env:HOOK"]',
            ": routes.d.secrets: the secret of a DingTalk robot is in its address, dingtalk://SECRET@TOKEN",
        ),
        (
            f'{FEISHU}secrets = ["env:NONSENSE", "env:NONSENSE"]',
            ': routes.f.secrets: a Feishu robot has one secret; write ["env:NAME"].',
        ),
        (f'{FEISHU}secrets = ["hunter2"]', ": routes.f.secrets[0]: a secret is not written here"),
        ('[routes.m]\nchannel="email"\nurl="env:PLAIN"', ": routes.m.url: anybody on the way could read"),
        (f'{HOOK}owners = ["west"]', ": routes.hook.owners: no app has the owner 'west'"),
        (
            f'{HOOK}quiet = {{from = "22", to = "08:00"}}',
            ": routes.hook.quiet.from: '22' is not a time of day",
        ),
        (f'{HOOK}quiet = {{from = "08:00", to = "08:00"}}', ": routes.hook.quiet: from and to are the same"),
        (f'{HOOK}quiet = {{from = "22:00"}}', ": routes.hook.quiet: object missing required field `to`"),
        (f'{HOOK}digest = {{every = "week"}}', ": routes.hook.digest.every: invalid enum value 'week'"),
        (
            f'{HOOK}digest = {{every = "day", zone = "Mars"}}',
            ": routes.hook.digest.zone: 'Mars' is not a time",
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(tmp_path: Path, text: str, sentence: str) -> None:
    refused = refusal(tmp_path, text)
    assert sentence in refused
    assert "\n" not in refused


def test_a_file_that_is_missing_is_named_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(RoutesError, match=r"can't be read .*set PHONEMETER_ALERT_ROUTES"):
        read_routes(tmp_path / "nowhere.toml")


def test_plain_text_is_for_this_machine_or_on_demand(tmp_path: Path) -> None:
    assert read(tmp_path, HOOK.replace("https://alerts.example.com", "http://127.0.0.1:8080")).routes
    assert read(tmp_path, HOOK.replace("https", "http") + "allow_plain = true\n").routes
