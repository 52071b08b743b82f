"""docs/producing.md: its code runs, and its tables know every type and reason."""

import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, get_args

import pytest

from metering.events import EVENT_TYPES, RejectionReason, Succeeded, read_event
from producers.client import EventProducer
from producers.events import event_id
from producers.settings import ProducerSettings
from tests.conftest import RunningKafka
from tests.producers.test_client import stored

PAGE = (Path(__file__).parents[2] / "docs" / "producing.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_client_needs_the_packages_that_the_page_names_and_no_other_of_ours() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (line,) = re.findall(r"^pip install '.*$", PAGE, re.MULTILINE)
    named = set(shlex.split(line)[2:])
    assert named <= set(project["dependencies"])
    others = {re.split(r"[^\w-]", each)[0] for each in set(project["dependencies"]) - named}
    absent = [module for module, by in packages_distributions().items() if others & set(by)]
    assert "faust" in absent
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); import producers.client, producers.events"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert f"phonemeter-{project['version']}-py3-none-any.whl" in PAGE


def test_the_page_has_python_to_run() -> None:
    assert len(BLOCKS) >= 6


def test_every_python_block_runs_against_the_real_broker(
    topics: RunningKafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHONEMETER_KAFKA", topics.bootstrap)
    monkeypatch.setenv("CLIENT_HASH_KEY", "a key of sixteen bytes or more")
    names: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"docs/producing.md, block {number}", "exec"), names)  # noqa: S102 - our own page
        if "on_phone_number" in names and number == 0:
            body = {"component": "getPhoneNumber", "succeeded_at": "2026-10-17T10:05:03.120Z", "store": "s1"}
            names["on_phone_number"]("wxfb1f3d218d111092", "code-1", "an openid", body)
    assert isinstance(names["producer"], EventProducer)
    values = [value for records in stored(topics.bootstrap).values() for _, value in records]
    assert len(values) == 8
    assert not any(b"openid" in value or b"code-1" in value for value in values)
    printed = capsys.readouterr().out
    assert "stored in partition" in printed
    assert "delivered" in printed
    assert "2 delivered, 0 refused, none failed" in printed
    assert "phone_number data.phoneNumber may not enter" in printed


@pytest.mark.parametrize("word", [*EVENT_TYPES, *get_args(RejectionReason)])
def test_the_page_knows_every_type_and_every_reason(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_every_setting_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(producer_\w+)`", PAGE))
    assert named
    assert named <= set(ProducerSettings.model_fields)


def test_the_event_shown_to_other_languages_is_one() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    event = read_event(block.encode(), now_ms=None)
    assert isinstance(event, Succeeded)
    assert event.id == event_id(event.subject, "0a3Bc1")
