"""What the runbooks tell people to do can be done: commands, settings, metrics and queries exist."""

import re
from pathlib import Path

import pytest

from phonemeter.cli.program import COMMANDS
from phonemeter.metrics import PAGE, listed
from phonemeter.settings import Settings, variable
from phonemeter.stack.stack import Stack
from sinks.connection import connect

RUNBOOKS = PAGE.parent / "runbooks.md"
QUERIES = re.findall(r"`(SELECT [^`]+)`", RUNBOOKS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [RUNBOOKS, PAGE], ids=lambda page: str(page.name))
def test_commands_settings_and_metrics_on_the_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = set(re.findall(r"`phonemeter ([a-z-]+)", text))
    assert commands
    assert commands <= {command.name for command in COMMANDS}
    assert set(re.findall(r"PHONEMETER_\w+", text)) <= {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"`(phonemeter_\w+)`", text)) <= {metric.name for metric in listed()}


@pytest.mark.stack
@pytest.mark.parametrize("query", QUERIES)
def test_queries_of_the_runbooks_are_answered(stack: Stack, query: str) -> None:
    with connect(stack.settings.clickhouse) as client:
        assert client.execute(query) is not None
