"""Every command on names that end lines, order terminals about and look like markup."""

import ast
import io
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import KafkaProducer

from metering.placement import partition_of
from metering.topics import EVENTS
from phonemeter import cli
from phonemeter.stack.stack import Stack
from phonemeter.terminal import Table, Terminal, print_json, say
from tests.metering.building import at, event, purchased
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.calling import Done, called

EVIL = "[/nope]\x1b[31m\nFORGED line\r\x9b5m\u202e:bomb: [bold]"
SOURCES = Path(cli.__file__).parents[1]


class Evil(NamedTuple):
    """An app all of whose texts are evil, and a file with its events."""

    appid: str
    file: Path


@pytest.fixture(scope="module")
def evil(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Evil:
    app = f"wx{secrets.token_hex(8)}"
    where = {"capability": "quick", "scene": EVIL, "store": EVIL, "env": EVIL}
    taps = [
        event("phone.authorization.succeeded", at(1), where, app=app, id=f"{app}{EVIL}{n}", source=EVIL)
        for n in range(1_003)
    ]
    values = [
        event("account.registered", at(0), {"name": EVIL, "entity_type": "company"}, app=app, source=EVIL),
        purchased(at(0.5), EVIL, calls=1, price=90_000, paid_at=at(0.5), app=app),
        *taps,
        taps[-1],
        purchased(at(2), f"late{EVIL}", calls=1, price=90_000, paid_at=at(0.5), app=app),
        event(
            "platform.usage_observed",
            at(2.5),
            {"capability": "quick", "pack_id": EVIL, "used": 9, "size": 9},
            app=app,
        ),
        event(
            "account.routing_set",
            at(2.6),
            {"capability": "quick", "store_budgets": [{"store": EVIL, "calls": 9}]},
            app=app,
        ),
        event(EVIL, at(3), {}, app=app),
        event("phone.authorization.succeeded", at(3), {"capability": EVIL}, app=app),
    ]
    producer = KafkaProducer(bootstrap_servers=stack.settings.kafka, acks="all")
    partition = partition_of(app.encode(), stack.settings.partitions)
    for value in values:
        producer.send(EVENTS, key=app.encode(), value=value, partition=partition)
    producer.send(EVENTS, key=f"{app}{EVIL}".encode(), value=taps[0], partition=partition)
    producer.flush()
    producer.close()
    settled(stack.settings)
    file = tmp_path_factory.mktemp("evil") / "events.jsonl"
    file.write_bytes(b"\n".join(values))
    return Evil(app, file)


def letters(told: dict[str, Any], app: str) -> Iterator[str]:
    for letter in told["letters"]:
        if letter["app"].startswith(app):
            yield letter["identity"]


def test_no_command_prints_what_a_name_orders(
    stack: Stack,
    evil: Evil,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def run(*arguments: str) -> Done:
        environ = stack.settings.to_environ()
        return called(monkeypatch, capsys, tmp_path, stack.settings.kafka, *arguments, **environ)

    listed = json.loads(run("dead-letters", "list", "--app", evil.appid, "--json").stdout)
    commands = [
        ("apps",),
        ("balance", evil.appid),
        ("forecast", evil.appid),
        ("reconcile", evil.appid),
        ("routing", evil.appid),
        ("explain", f"{evil.appid}{EVIL}0"),
        ("explain", f"{evil.appid}{EVIL}1002"),
        ("explain", f"{evil.appid}{EVIL}nowhere"),
        ("audit",),
        ("alerts", "list", "--app", evil.appid),
        ("dead-letters", "list"),
        *(("dead-letters", "show", identity) for identity in letters(listed, evil.appid)),
        ("dead-letters", "retry", "--all", "--reason", "unknown_type", "--app", evil.appid),
        ("replay", "--dry-run", "--trial-calls", "5"),
        ("rate", str(evil.file)),
        ("emit", "--dry-run", str(evil.file)),
        ("status",),
        ("settings",),
    ]
    assert len(commands) > 16
    for command in commands:
        for options in ((), ("--json",)):
            ran = run(*command, *options)
            for told in (ran.stdout, ran.stderr):
                unseen = {one for one in told if not one.isprintable() and one != "\n"}
                assert not unseen, (command, unseen)
                assert not any(line.lstrip().startswith("FORGED") for line in told.splitlines()), command
                assert "Traceback" not in told
                assert "bug" not in told, command
            if options and ran.returncode == 0:
                assert isinstance(json.loads(ran.stdout), dict), command
    balance = run("balance", evil.appid).stdout
    assert "[/nope]\\x1b[31m\\nFORGED line\\r\\x9b5m\\u202e:bomb: [bold]" in "".join(balance.split("\n"))


def test_a_string_is_one_line_of_text_and_nothing_else() -> None:
    told = io.StringIO()
    terminal = Terminal(file=told, width=400)
    table = Table(EVIL, box=None)
    table.add_row(EVIL)
    terminal.print(EVIL)
    terminal.print(table)
    first, *_, last = told.getvalue().splitlines()
    assert first == last.strip() == "[/nope]\\x1b[31m\\nFORGED line\\r\\x9b5m\\u202e:bomb: [bold]"
    assert all(one.isprintable() or one == "\n" for one in told.getvalue())


def test_json_is_the_same_with_what_can_not_be_seen_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    value = {EVIL: [EVIL, "静安寺\u3000店", "\U000e0001"]}
    print_json(value)
    print_json(value, indent=2, stderr=True)
    said = capsys.readouterr()
    for told in said:
        assert json.loads(told) == value
        assert all(one.isprintable() or one == "\n" for one in told)
    assert len(said.out.splitlines()) == 1
    say(EVIL)
    assert capsys.readouterr().out == "[/nope]\\x1b[31m\nFORGED line\\r\\x9b5m\\u202e:bomb: [bold]\n"


FORBIDDEN_NAMES = {"print", "Console", "echo", "secho"}
ALLOWED = {
    "terminal.py": "the one place",
    "cli/failures.py": "must work before anything else was loaded",
    "cli/program.py": "the version",
}


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for folder in ("cli", "audit", "demo", "replay", "dead_letters")
        for path in (SOURCES / folder).rglob("*.py")
        if str(path.relative_to(SOURCES)) not in ALLOWED
    ),
    ids=lambda path: str(path.relative_to(SOURCES)),
)
def test_nothing_prints_past_the_one_place(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in {"rich.console", "rich.table"}:
            assert not {"Console", "Table"} & {alias.name for alias in node.names}, f"line {node.lineno}"
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else ""
            assert name not in FORBIDDEN_NAMES, f"line {node.lineno}"
            if isinstance(called, ast.Attribute):
                where = ast.unparse(called.value)
                assert not (called.attr in {"echo", "secho"} and where == "typer"), f"line {node.lineno}"
                assert not (called.attr == "write" and where in {"sys.stdout", "sys.stderr"}), (
                    f"line {node.lineno}"
                )
