"""Every command on a terminal of 80 columns, and what every `--json` and every log say of times."""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from kafka import KafkaProducer
from rich.cells import cell_len

from dashboards.console.members import Actor
from metering.catalogue import DEFAULT
from metering.placement import partition_of
from metering.topics import EVENTS
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.owners import OwnerStore
from phonemeter.cli.program import COMMANDS
from phonemeter.stack.stack import Stack
from producers.events import event_id
from tests.metering.building import at, event, purchased, succeeded
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.calling import Done, called
from tests.phonemeter.cli.terminal import on_terminal

COLUMNS: Final = 80
PACK: Final = "pack-of-a-name-that-is-rather-long-20261017-0001"
PAGE: Final = Path(__file__).parents[3] / "docs" / "reference" / "commands.md"
ROUTES: Final = """
[routes.operations-of-the-whole-company]
url = "env:OPERATIONS_URL"
channel = "wecom"
language = "zh"
"""


class Fleet:
    """An app of a name that fills lines, a dead letter, and what names them."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.app = f"wx{secrets.token_hex(8)}"
        self.tap = event_id(self.app, "code-1")
        self.routes = folder / "routes.toml"
        self.routes.write_text(ROUTES)
        self.events = folder / "events.jsonl"
        self.events.write_bytes(b"\n".join(self._values()) + b"\nno event\n")
        producer = KafkaProducer(bootstrap_servers=stack.settings.kafka, acks="all")
        partition = partition_of(self.app.encode(), stack.settings.partitions)
        for value in self._values():
            producer.send(EVENTS, key=self.app.encode(), value=value, partition=partition)
        producer.flush()
        producer.close()
        settled(stack.settings)
        with BusinessDatabase(stack.settings.business_url) as database:
            owner_id = OwnerStore(database).add(f"owner of {self.app}", [self.app])
            actor = Actor("li@columns.example", owner_id)
            self.order = BusinessOrders(database).create(actor, self.app, DEFAULT[0], "columns").order_id

    def _values(self) -> Iterator[bytes]:
        name = {"name": "静安寺会员中心与其他门店的小程序", "entity_type": "company"}
        yield event("account.registered", at(0), name, app=self.app)
        yield purchased(at(0.5), PACK, calls=2, price=60_000, paid_at=at(0.5), app=self.app)
        for number in range(1_004):
            yield succeeded(at(1), app=self.app, event_id=event_id(self.app, f"code-{number}"))
        yield succeeded(at(2), app=self.app, event_id=event_id(self.app, "code-1"))
        counted = {"capability": "quick", "pack_id": PACK, "used": 3, "size": 2}
        yield event("platform.usage_observed", at(2.5), counted, app=self.app)
        yield event("phone.authorization.vanished", at(3), {}, app=self.app)


@pytest.fixture(scope="module")
def fleet(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(stack, tmp_path_factory.mktemp("columns"))


Run = Callable[..., Done]


@pytest.fixture
def run(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    def call(*arguments: object, **environ: str) -> Done:
        environ = {**stack.settings.to_environ(), **environ}
        return called(monkeypatch, capsys, tmp_path, stack.settings.kafka, *arguments, **environ)

    return call


def letter_of(run: Run, fleet: Fleet) -> str:
    told = json.loads(run("dead-letters", "list", "--app", fleet.app, "--json").stdout)
    return str(told["letters"][0]["identity"])


def commands(run: Run, fleet: Fleet) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command that tells something, and a text in it that is there to be copied."""
    letter = letter_of(run, fleet)
    yield ("apps",), fleet.app
    yield ("balance", fleet.app), PACK
    yield ("forecast", fleet.app), fleet.app
    yield ("open", fleet.app, "--trial-used", "7", "--pack", f"{PACK}=1"), PACK
    yield ("reconcile", fleet.app), PACK
    yield ("routing", fleet.app), "known members"
    yield ("explain", fleet.tap), fleet.tap
    yield ("explain", event_id(fleet.app, "code-1001")), PACK
    yield ("audit",), ""
    yield ("alerts", "list", "--app", fleet.app), fleet.app
    yield ("alerts", "check", str(fleet.routes)), "operations-of-the-whole-company"
    yield ("dead-letters", "list", "--app", fleet.app), letter.removeprefix("phone-events-")
    yield ("dead-letters", "show", letter), letter
    yield ("replay", "--dry-run", "--trial-calls", "5"), fleet.app
    yield ("rate", str(fleet.events)), PACK
    yield ("emit", "--dry-run", str(fleet.events)), ""
    yield ("import", "--dry-run", str(fleet.events)), fleet.app
    yield ("status",), ""
    yield ("settings",), "engine_native_port"
    yield ("topics",), ""


def test_no_line_is_longer_than_80_columns_and_nothing_to_copy_is_broken(
    stack: Stack, run: Run, fleet: Fleet, tmp_path: Path
) -> None:
    environ = stack.settings.to_environ() | {"OPERATIONS_URL": "wecombot://made-up"}
    for arguments, to_copy in commands(run, fleet):
        seen = on_terminal(*arguments, columns=COLUMNS, cwd=tmp_path, **environ)
        assert seen.returncode in {0, 1}, (arguments, seen.text)
        assert "Traceback" not in seen.text, arguments
        assert "…" not in seen.text, arguments
        assert to_copy in seen.text, arguments
        too_long = [line for line in seen.lines if cell_len(line) > COLUMNS]
        assert too_long == [], arguments


@pytest.mark.parametrize("command", [one.name for one in COMMANDS])
def test_no_help_is_wider_than_80_columns(run: Run, command: str) -> None:
    told = run(command, "--help", COLUMNS=str(COLUMNS)).stdout
    assert told.strip()
    assert [line for line in told.splitlines() if cell_len(line) > COLUMNS] == []


def listed() -> dict[str, set[str]]:
    """The fields of each command's JSON, as the page lists them."""
    rows = re.findall(r"^\| `phonemeter (.+) --json` \| (`.+`) \|$", PAGE.read_text(), flags=re.MULTILINE)
    return {command: set(re.findall(r"`(\w+)`", fields)) for command, fields in rows}


def named_in(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Every name in a JSON value, at any depth, and what it names."""
    if isinstance(value, dict):
        yield from value.items()
        for one in value.values():
            yield from named_in(one)
    if isinstance(value, list):
        for one in value:
            yield from named_in(one)


def test_json_is_as_the_page_lists_it_and_every_moment_is_iso_8601_with_a_zone(
    run: Run, fleet: Fleet, tmp_path: Path
) -> None:
    places = {
        "APPID": fleet.app,
        "EVENT_ID": event_id(fleet.app, "code-1"),
        "IDENTITY": letter_of(run, fleet),
        "FILE": str(fleet.events),
        "OLD": fleet.app,
        "NEW": "wx00000000000000ff",
        "ORDER": fleet.order,
        "DIR": str(tmp_path / "backup"),
    }
    page = listed()
    assert len(page) == 27
    moments = 0
    for command, fields in page.items():
        arguments = [places.get(word, word) for word in command.split()]
        told = json.loads(run(*arguments, "--json").stdout)
        assert set(told) == fields, command
        for name, value in named_in(told):
            assert not name.endswith("_ms"), (command, name)
            if value is not None and (name.endswith("_at") or name in {"time", "as_of"}):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value), (command, name)
                moments += 1
    assert moments > 20


def test_an_event_is_explained_in_the_time_of_shanghai_alone(run: Run, fleet: Fleet) -> None:
    told = run("explain", event_id(fleet.app, "code-1")).stdout
    times = re.findall(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:[\d.]+( \(Shanghai\)|.)", told)
    assert len(times) >= 5
    assert set(times) == {" (Shanghai)"}


@pytest.mark.parametrize("service", ["kafka", "worker", "sink"])
def test_every_dated_line_of_a_log_has_its_zone(stack: Stack, fleet: Fleet, service: str) -> None:
    del fleet
    lines = stack.directory.log(service).read_text(errors="replace").splitlines()
    dated = [line for line in lines if re.match(r"\[?\d{4}-", line)]
    assert dated
    zoned = r"\[?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.,]\d{3}Z\]? "
    assert [line for line in dated if not re.match(zoned, line)] == []
