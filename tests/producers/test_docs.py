"""docs/how-to/producing.md and docs/reference/events.md: their code runs, their tables are complete."""

import io
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from metering.event_validation import read_event
from metering.events import EVENT_TYPES, Succeeded
from metering.rejections import Rejection, RejectionReason
from producers.client import EventProducer
from producers.client_settings import ClientSettings
from producers.events import event_id
from producers.settings import ProducerSettings
from tests.conftest import RunningKafka
from tests.producers.test_client import stored

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "producing.md").read_text()
REFERENCE = (DOCS / "reference" / "events.md").read_text()
EVENTS_OF_THE_PAGES = 8
BLOCKS = re.findall(r"^```python\n(.*?)^```$", f"{PAGE}\n{REFERENCE}", re.MULTILINE | re.DOTALL)


def test_the_page_has_python_to_run() -> None:
    assert len(BLOCKS) >= 6


def test_every_python_block_runs_against_the_real_broker(
    topics: RunningKafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHONEMETER_KAFKA", topics.bootstrap)
    monkeypatch.setenv("CLIENT_HASH_KEY", "a key of sixteen bytes or more")
    monkeypatch.setenv("WECHAT_ACCESS_TOKEN", "a token")
    answer = {"errcode": 0, "phone_info": {"purePhoneNumber": "13800138000", "countryCode": "86"}}
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(json.dumps(answer).encode()))
    names: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"block {number} of the two pages", "exec"), names)  # noqa: S102 - our own page
        if number == 0:
            body = {"code": "code-1", "component": "getPhoneNumber", "tapped_at": "2026-10-17T10:05:03.120Z"}
            assert names["sign_up"]("an openid", body).pure_number == "13800138000"
    assert isinstance(names["producer"], EventProducer)
    names["producer"].close()
    values = [value for records in stored(topics.bootstrap).values() for _, value in records]
    assert len(values) == EVENTS_OF_THE_PAGES
    assert not any(b"openid" in value or b"code-1" in value for value in values)
    printed = capsys.readouterr().out
    assert "stored in partition" in printed
    assert "delivered" in printed
    assert "awaited" in printed
    assert "phone_number data.phoneNumber may not enter" in printed


def test_the_settings_of_the_client_are_listed_as_in_the_code() -> None:
    row = r"^\| `(client_\w+)` \| `PHONEMETER_(\w+)` \| `?(.*?)`? \| (.*) \|$"
    listed = re.findall(row, PAGE, re.MULTILINE)
    fields = {name: ClientSettings.model_fields[name] for name in ClientSettings.__annotations__}
    assert listed == [
        (name, name.upper(), str(field.default or "empty"), field.description)
        for name, field in fields.items()
    ]


@pytest.mark.parametrize("word", [*EVENT_TYPES, *get_args(RejectionReason)])
def test_the_page_knows_every_type_and_every_reason(word: str) -> None:
    assert f"`{word}`" in REFERENCE


def test_every_setting_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(producer_\w+)`", PAGE))
    assert named
    assert named <= set(ProducerSettings.model_fields)


def test_the_events_shown_to_other_languages_are_some() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)
    events = [read_event(block.encode(), now_ms=None) for block in blocks]
    tap, *_ = events
    assert isinstance(tap, Succeeded)
    assert tap.id == event_id(tap.subject, "0a3Bc1")
    assert not [event for event in events if isinstance(event, Rejection)]
