"""The OpenAPI document and its pages: valid, true to the code, and without anything from elsewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from metering.event_validation import read_event
from metering.events import EVENT_TYPES
from metering.rejections import Rejection
from producers.gateway.description_pages import FILES
from producers.gateway.openapi import ACCEPTED, PACK, TAP, document
from producers.gateway.problems import STATUSES
from tests.producers.gateway.parts import BATCHED, Door, opened, tap

DOCUMENT = document()
SCHEMAS = DOCUMENT["components"]["schemas"]
POST = DOCUMENT["paths"]["/v1/events"]["post"]


def check(tmp_path: Path, name: str, *instances: object) -> None:
    """Hold values against one of the document's schemas."""
    schema, files = tmp_path / "schema.json", []
    schema.write_text(
        json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$ref": f"#/components/schemas/{name}",
                "components": DOCUMENT["components"],
            }
        )
    )
    for number, value in enumerate(instances):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(value))
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_its_examples_are_what_it_describes(tmp_path: Path) -> None:
    check(tmp_path, "Event", TAP, PACK)


def test_every_reference_leads_somewhere() -> None:
    found = set(re.findall(r'"#/components/schemas/([\w.]+)"', json.dumps(DOCUMENT)))
    assert found <= set(SCHEMAS)


def test_it_has_every_type_of_event_but_those_of_our_own_services() -> None:
    kinds = set(SCHEMAS["Event"]["discriminator"]["mapping"])
    assert kinds == set(EVENT_TYPES) - {"clock.ticked", "account.settled"}


def test_it_has_every_problem_but_those_of_other_paths() -> None:
    named = {
        name
        for response in POST["responses"].values()
        for name in response["content"].get("application/problem+json", {}).get("examples", {})
    }
    assert named == set(STATUSES) - {"not_found", "method_not_allowed", "conflict"}


def test_its_pack_is_an_event_and_its_tap_is_one_with_the_id_of_its_code() -> None:
    assert not isinstance(read_event(msgspec.json.encode(PACK), now_ms=None), Rejection)
    made = {**TAP, "id": "x"}
    assert not isinstance(read_event(msgspec.json.encode(made), now_ms=None), Rejection)


async def results(door: Door) -> tuple[Any, Any]:
    good, bad = await door.post(tap("a")), await door.post([tap("b"), {}], BATCHED)
    return good.body, bad.body


async def test_answers_are_what_it_describes(tmp_path: Path) -> None:
    async with opened() as door:
        good, bad = await results(door)
    check(tmp_path, "Results", good, ACCEPTED)
    check(tmp_path, "Problem", bad)


async def test_the_pages_need_no_key_and_load_nothing_from_elsewhere() -> None:
    async with opened() as door:
        served = (await door.request("GET", "/v1/openapi.json", key="")).body
        page = await door.request("GET", "/v1/docs", key="")
        assert served == json.loads(json.dumps(DOCUMENT))
        assert b"://" not in page.body
        assert "default-src 'none'" in page.headers["content-security-policy"]
        loaded = set(re.findall(r'(?:src|href)="docs/([^"]+)"', page.body.decode()))
        assert loaded == {*FILES, "start.js"}
        for name in loaded:
            answer = await door.request("GET", f"/v1/docs/{name}", key="")
            assert answer.status == 200
            assert len(answer.body) > 50


@pytest.mark.parametrize("path", ["/v1/docs/../settings.py", "/v1/docs/%2e%2e/x", "/v1/docs/other.js"])
async def test_no_other_file_is_served(path: str) -> None:
    async with opened() as door:
        assert (await door.request("GET", path)).status == 404
