"""docs/how-to/alerts.md: its routes file is valid, its receiver verifies, its tables match the code."""

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from phonemeter.cli.alerts import GROUP
from sinks.notifier import routes_file, webhook
from sinks.notifier.channels import EXAMPLES
from sinks.notifier.routes import App, ChannelName, Route
from sinks.notifier.routes_file import Reason, read_routes
from sinks.notifier.settings import NotifierSettings
from sinks.notifier.wording import text_of
from tests.sinks.notifier.parts import SECRET, alert

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "alerts.md").read_text(encoding="utf-8")
ONE = alert(417, partition=2, remaining=480, details={"level_percent": 5, "size": 10_000})
NAME = App(name="会员中心", owner="east")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_file_of_routes_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATIONS_SECRET", SECRET)
    monkeypatch.setenv("EAST_WECOM", "wecombot://robot-key")
    monkeypatch.setenv("WEST_FEISHU", "feishu://robot-token")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "operations-before").write_text(SECRET)
    (tmp_path / "secrets" / "buyer-mail").write_text(
        "mailtos://me:word@mail.example.com?to=you@example.com\n"
    )
    path = tmp_path / "routes.toml"
    path.write_text(block("toml"), encoding="utf-8")
    routes = read_routes(path)
    assert {one.route for one in routes.requests(ONE, now_ms=0)} == {"operations", "east", "buyer"}
    assert routes.app("wxfb1f3d218d111092") == NAME


def test_the_receiver_of_the_page_verifies_what_is_sent() -> None:
    names: dict[str, Any] = {}
    exec(compile(block("python"), "docs/how-to/alerts.md", "exec"), names)  # noqa: S102 - our own page
    verifies = names["is_from_phonemeter"]
    body, now_ms = b'{"type":"phone.alert.raised"}', time.time_ns() // 1_000_000
    headers = webhook.signed_headers("alert_2-417-0_operations", body, [SECRET], now_ms)
    assert verifies(headers, body, SECRET)
    assert not verifies(headers, body + b" ", SECRET)
    assert not verifies(webhook.signed_headers("id", body, [SECRET], now_ms - 301_000), body, SECRET)


def test_the_body_is_the_one_that_is_sent() -> None:
    shown = json.loads(block("json"))
    route = Route(name="operations", channel="webhook", address="", language="en")
    sent = json.loads(webhook.body_of([ONE], [NAME], route, held=False))
    assert {**sent, "data": {**sent["data"], "text": "..."}} == shown
    for kind in (webhook.RAISED, webhook.RECOVERED, webhook.DIGEST, webhook.TEST):
        assert f"`{kind}`" in PAGE


def test_a_message_reads_as_the_page_says() -> None:
    assert f"{text_of(ONE, NAME, 'zh').text()}\n" == block("text")


def test_the_tables_have_every_kind_key_and_channel() -> None:
    for kind in get_args(Reason):
        assert f"| `{kind}` | " in PAGE
    keys = [field for field in routes_file._Route.__struct_fields__ if field != "owners"]
    for key in keys:
        assert re.search(rf"^\| (`\w+`, )?`{key}`", PAGE, re.MULTILINE), key
    for channel in get_args(ChannelName):
        assert f"`{EXAMPLES[channel].split(',')[0].split('?')[0]}" in PAGE, channel


def test_the_commands_are_those_of_the_program() -> None:
    group = typer.main.get_command(GROUP)
    commands: dict[str, Any] = getattr(group, "commands", {})
    assert re.findall(r"^\| `phonemeter alerts (\w+)", PAGE, re.MULTILINE) == list(commands)
    for line in block("sh").splitlines():
        program, alerts, command, *arguments = shlex.split(line)
        assert (program, alerts) == ("phonemeter", "alerts")
        options = {option for parameter in commands[command].params for option in parameter.opts}
        assert {one for one in arguments if one.startswith("--")} <= options


def test_the_settings_and_times_that_it_names_are_those_of_the_code() -> None:
    named = set(re.findall(r"`((?:notifier|alert)_\w+)`", PAGE))
    assert named <= set(NotifierSettings.model_fields)
    fields = NotifierSettings.model_fields
    assert fields["notifier_timeout_s"].default == 15
    assert fields["notifier_retry_first_ms"].default == 5_000
    assert fields["notifier_retry_for_s"].default == 86_400
    assert fields["notifier_alert_age_max_s"].default == 7 * 86_400
