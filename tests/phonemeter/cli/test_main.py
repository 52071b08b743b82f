import ast
import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import clickhouse_driver.errors
import kafka.errors
import pytest
from typer.testing import CliRunner

from phonemeter.cli.failures import report, sentence
from phonemeter.cli.program import COMMANDS, _app
from phonemeter.errors import OperationError, UserError
from producers.errors import ProducerError
from sinks.errors import SinkError
from tests.waiting import WITHIN_S


def phonemeter(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PHONEMETER_")}
    return subprocess.run(
        [sys.executable, "-m", "phonemeter", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**inherited, "COLUMNS": "100", "NO_COLOR": "1", **environ},
    )


def test_every_command_is_listed_with_a_line_of_help(tmp_path: Path) -> None:
    shown = phonemeter("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for command in COMMANDS:
        assert f" {command.name} " in shown.stdout
        assert command.summary in shown.stdout


def test_help_is_shown_without_loading_what_only_commands_need(tmp_path: Path) -> None:
    absent = [
        "aiokafka",
        "chdb",
        "clickhouse_driver",
        "faust",
        "kafka",
        "metering",
        "msgspec",
        "numpy",
        "pydantic",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); from phonemeter.cli import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(_app(command), [command, "--help"], prog_name="phonemeter")
    assert shown.exit_code == 0, shown.output
    assert f"Usage: phonemeter {command}" in shown.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_where_the_list_says(command: tuple[str, str, str, str]) -> None:
    module, _, function = command[1].partition(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    body = ast.parse(Path(spec.origin).read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    groups = {ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)}
    assert function in defined | groups


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert phonemeter("--version", cwd=tmp_path).stdout.startswith("phonemeter 0.")


def test_an_unknown_command_names_the_nearest(tmp_path: Path) -> None:
    refused = phonemeter("statsu", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Did you mean 'status'" in refused.stderr


@pytest.mark.stack
def test_a_wrong_setting_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    refused = phonemeter("up", cwd=tmp_path, PHONEMETER_PARTITIONS="many")
    assert refused.returncode == 2
    assert refused.stderr == (
        "PHONEMETER_PARTITIONS (partitions in phonemeter.toml) is 'many'; it should be a valid integer.\n"
    )


def test_the_services_can_be_listed_without_the_engine(tmp_path: Path) -> None:
    """Images that talk to a ClickHouse server leave chDB, 600 MB, out."""
    program = (
        "import sys; sys.modules['chdb'] = None; sys.modules['phonemeter.engine'] = None\n"
        "import phonemeter.cli.services, phonemeter.cli.topics\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_worker_and_gateway_start_without_clients_that_only_a_login_needs(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(['kafka', 'urllib3'])\n"
        "import streams.app, producers.gateway.service\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_completion_offers_the_commands(tmp_path: Path) -> None:
    offered = phonemeter(
        cwd=tmp_path,
        _PHONEMETER_COMPLETE="complete_bash",
        COMP_WORDS="phonemeter st",
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS="phonemeter st",
    )
    assert offered.stdout.split() == ["status"]


@pytest.mark.parametrize(
    "held_up",
    ["typer", "pydantic"],
    ids=["while the command line is loaded", "while its command is loaded"],
)
def test_ctrl_c_while_imports_run_ends_it_without_a_word(tmp_path: Path, held_up: str) -> None:
    (tmp_path / f"{held_up}.py").write_text("import sys; print('importing', flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-m", "phonemeter", "status"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "importing\n"
        started.send_signal(signal.SIGINT)
        # What it says it says at its end; its standard input stays open until then.
        started.wait(WITHIN_S)
        assert (started.returncode, *started.communicate()) == (130, "", "")


def test_the_command_begins_where_nothing_else_is_loaded_that_ctrl_c_could_meet(tmp_path: Path) -> None:
    program = (
        "import sys; before = set(sys.modules); from phonemeter.cli import main\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert shown.stdout.split() == ["phonemeter", "phonemeter.cli"]


@pytest.mark.stack
def test_a_worker_without_its_port_says_so_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = phonemeter("worker", cwd=tmp_path, PHONEMETER_WORKER_PORT=str(port))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"Port {port} for the worker's health and metrics cannot be opened on 127.0.0.1 (Address already in "
        "use): free it, or set PHONEMETER_WORKER_PORT (worker_port in phonemeter.toml) to a free port.\n"
    )


@pytest.mark.stack
def test_a_demo_of_an_empty_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    refused = phonemeter("demo", "--file", "empty.jsonl", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "The file empty.jsonl holds no event; name another with --file.\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "empty.jsonl"]


def test_an_event_without_an_id_is_not_looked_for(tmp_path: Path) -> None:
    refused = phonemeter("explain", "", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "EVENT_ID is empty; give the id of an event, as its producer made it.\n"


@pytest.mark.parametrize(
    ("error", "told", "status"),
    [
        (UserError("Ask otherwise."), "Ask otherwise.", 2),
        (OperationError("It failed."), "It failed.", 1),
        (ProducerError("Not sent."), "Not sent.", 1),
        (SinkError("The schema is newer."), "The schema is newer.", 2),
        (kafka.errors.KafkaTimeoutError("late"), "Kafka did not do what was asked", 1),
        (clickhouse_driver.errors.NetworkError("gone"), "ClickHouse did not do what was asked", 1),
        (PermissionError(13, "Permission denied", "/x"), "The system refused: Permission denied (/x)", 1),
        (KeyError("x"), "phonemeter has a bug: KeyError: 'x'", 1),
    ],
)
def test_a_failure_is_a_sentence_and_a_status(
    capsys: pytest.CaptureFixture[str], error: Exception, told: str, status: int
) -> None:
    assert report(error) == status
    assert capsys.readouterr().err.startswith(told)
    assert "\n" not in sentence(error)


def test_a_client_library_that_fails_in_its_own_way_is_no_bug_of_ours() -> None:
    with pytest.raises(AttributeError) as caught:
        kafka.KafkaProducer.partitions_for(None, "a-topic")
    assert sentence(caught.value).startswith(
        "Kafka did not do what was asked: its client failed with AttributeError ("
    )
