"""The runbooks can be followed: their settings, metrics, log texts and queries exist."""

import re
from pathlib import Path

import pytest

from phonemeter.metrics import PAGE, listed
from phonemeter.settings import Settings, variable
from phonemeter.stack.stack import Stack
from sinks.connection import connect

RUNBOOKS = PAGE.parents[1] / "how-to" / "runbooks.md"
QUERIES = re.findall(r"`(SELECT [^`]+)`", RUNBOOKS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [RUNBOOKS, PAGE], ids=lambda page: str(page.name))
def test_settings_and_metrics_on_the_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"PHONEMETER_\w+", text)) <= {variable(name) for name in Settings.model_fields}
    known = {"phonemeter_build_info", *(metric.name for metric in listed())}
    assert set(re.findall(r"`(phonemeter_\w+)`", text)) <= known


def test_what_the_runbooks_quote_from_logs_is_in_the_code() -> None:
    without_commands = re.sub(r"`(?:phonemeter|docker) [^`]*`", "", RUNBOOKS.read_text(encoding="utf-8"))
    quoted = re.findall(r"`([a-zA-Z]+(?: [a-z]+)+)`", without_commands)
    code = " ".join(
        re.sub(r'"\n\s*f?"', "", file.read_text(encoding="utf-8"))
        for folder in ("streams", "sinks", "phonemeter", "metering")
        for file in (PAGE.parents[2] / folder).rglob("*.py")
    )
    assert len(quoted) > 5
    assert [phrase for phrase in quoted if phrase not in code] == []


@pytest.mark.parametrize("query", QUERIES)
def test_queries_of_the_runbooks_are_answered(stack: Stack, query: str) -> None:
    with connect(stack.settings.clickhouse) as client:
        assert client.execute(query) is not None
