"""The running of the examples: the ledger is compared with what was published, and CI does it."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from metering.placement import partition_of
from tests.examples.programs import EXAMPLES, EXAMPLES_OF_LANGUAGES, JARS, MODES, ROOT
from tests.examples.taps import Tap, differences, id_of, taps_of
from tools import go
from tools.debian import NotToBeHadError

PARTITIONS = 4
TAPS = taps_of("Java", "binary", "run")


def row_of(tap: Tap) -> dict[str, Any]:
    """The ledger's row of a tap that was published as it must be."""
    return {
        **tap,
        "event_id": id_of(tap)[:32],
        "source_partition": partition_of(tap["appid"].encode(), PARTITIONS),
    }


ROWS = [row_of(tap) for tap in TAPS if tap["code"]]


def test_a_ledger_that_has_every_tap_once_differs_in_nothing() -> None:
    assert len(ROWS) == len(TAPS) - 1
    assert differences(TAPS, ROWS, PARTITIONS) == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("event_id", id_of({**TAPS[0], "code": "other"})[:32], "is not that of rule 2"),
        ("event_id", "", "is not that of rule 2"),
        ("store", "??", "store is '??' instead of '南京西路店'"),
        ("time", "2026-01-01T00:00:00.000Z", "time is '2026-01-01T00:00:00.000Z' instead of"),
        ("capability", "realtime", "capability is 'realtime' instead of 'quick'"),
        ("source_partition", 99, "source_partition is 99 instead of"),
        ("appid", "wx-other", "1 call was expected, the ledger has 0"),
    ],
)
def test_a_call_that_is_another_one_is_told(name: str, value: object, sentence: str) -> None:
    said = differences(TAPS, [{**ROWS[0], name: value}, *ROWS[1:]], PARTITIONS)
    assert sentence in said[0]


def test_a_call_too_many_is_told() -> None:
    assert differences(TAPS, [*ROWS, ROWS[0]], PARTITIONS) == [
        f"{TAPS[0]['appid']}: 1 call was expected, the ledger has 2"
    ]


def test_the_taps_are_of_all_partitions_and_one_has_no_code() -> None:
    apps = {tap["appid"] for mode in MODES["kafka"] for tap in taps_of("Go-kafka", mode, "run")}
    assert {partition_of(app.encode(), PARTITIONS) for app in apps} == set(range(PARTITIONS))
    assert [tap["code"] for tap in TAPS].count("") == 1


def test_every_folder_of_examples_is_run() -> None:
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    languages = {example.language.lower() for example in EXAMPLES_OF_LANGUAGES}
    # The page of a mini-program is tried by test_mini_program.py.
    assert folders == sorted(languages | {"mini-program"})


@pytest.mark.parametrize("language", ["Java", "Node", "Go", "Python"])
def test_the_sdk_of_each_language_sends_every_content_mode_to_the_gateway(language: str) -> None:
    found = [
        one.modes for one in EXAMPLES_OF_LANGUAGES if (one.language, one.through) == (language, "gateway")
    ]
    assert found == [("structured", "binary", "batched")]


@pytest.mark.parametrize("program", ["Taps", "GatewayTaps"])
def test_the_example_of_java_names_the_versions_that_it_is_built_with(program: str) -> None:
    source = (EXAMPLES / "java" / f"{program}.java").read_text(encoding="utf-8")
    named = re.findall(r"([\w.]+):([\w-]+):([\d.]+\d)", source)
    locked = {
        (one["groupId"], one["artifactId"], one["version"])
        for one in tomllib.loads(JARS.read_text(encoding="utf-8"))["dependencies"]
    }
    assert len(named) == 2
    assert set(named) <= locked


@pytest.mark.parametrize("page", ["other-languages.md", "other-languages.zh-CN.md"])
def test_the_code_on_the_page_is_that_of_the_example(page: str) -> None:
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    (block,) = re.findall(r"^```js\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert block in (EXAMPLES / "node" / "conformance.test.js").read_text(encoding="utf-8")


def test_packages_of_node_are_locked_by_hash_and_by_no_address() -> None:
    packages = json.loads((EXAMPLES / "node" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    locked = [one for name, one in packages.items() if name]
    assert locked
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in locked)


def test_ci_runs_the_examples() -> None:
    assert "\nmake examples\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_a_machine_without_go_gets_it_by_uv_or_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    monkeypatch.setenv("PATH", os.devnull)
    target = tmp_path / "tools" / "go"
    with pytest.raises(NotToBeHadError, match=r"uv could not fetch Go \(no network\); check the network, or"):
        go.program(target)
    assert not target.exists()
    target.mkdir(parents=True)
    (target / "go.txt").write_bytes(go.REQUIREMENT.read_bytes())
    assert go.program(target) == target / "go" / "bin" / "go"
