"""`phonemeter-client` as its users have it: installed by itself, typed, publishing to the real broker."""

import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from producers import interface
from tests.client_distribution import UV, Installed, installed, said
from tests.conftest import RunningKafka
from tests.producers.test_client import stored
from tools.client import tree
from tools.client.tree import ROOT

PROGRAM = """
from datetime import UTC, datetime

from phonemeter_client import EventProducer, Place, RefusedError, authorization_succeeded


def publish(code: str) -> Place | None:
    now = datetime.now(UTC)
    tap = authorization_succeeded(appid="wxapp1", code=code, capability="quick", time=now, store="store-03")
    with EventProducer() as producer:
        return producer.publish(tap).result()


try:
    publish("")
except RefusedError as error:
    print(error)
print(publish("code-1"))
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return installed(tmp_path_factory.mktemp("client"))


MISSPELT = PROGRAM.replace("store=", "stroe=")


@pytest.fixture(scope="module")
def types_checked(client: Installed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The words of mypy on both programs in the client's environment."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "right.py").write_text(PROGRAM)
    (folder / "misspelt.py").write_text(MISSPELT)
    code = "import sys; from mypy import api; print(*api.run(sys.argv[1:]))"
    options = ("--strict", "--no-incremental", "--config-file=", f"--python-executable={client.python}")
    return said(sys.executable, "-c", code, *options, str(folder))


def test_it_is_installed_with_what_it_needs_and_nothing_else(client: Installed) -> None:
    assert "compatible" in said(UV, "pip", "check", "--python", client.python)
    with zipfile.ZipFile(client.wheel) as wheel:
        folders = {name.partition("/")[0] for name in wheel.namelist()}
    assert folders == {"phonemeter_client", "phonemeter_client-0.1.0.dist-info"}
    program = (
        "import sys, phonemeter_client as it; assert all(hasattr(it, name) for name in it.__all__);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'producers', 'metering', 'faust'}))"
    )
    assert client.run("-W", "error::ResourceWarning", "-c", program) == "[]\n"


def test_a_program_of_its_user_publishes(client: Installed, topics: RunningKafka) -> None:
    printed = client.run("-c", PROGRAM, PHONEMETER_KAFKA=topics.bootstrap)
    assert "give the code that the component's success callback gave" in printed
    assert "Place(partition=" in printed
    (records,) = stored(topics.bootstrap).values()
    assert [key for key, _ in records] == [b"wxapp1"]


def test_its_types_are_strict_and_know_a_misspelt_field(types_checked: str) -> None:
    errors = [line for line in types_checked.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "misspelt.py" in errors[0]
    assert 'Unexpected keyword argument "stroe"' in errors[0]


def test_a_misspelt_field_is_an_error_when_it_runs() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'stroe'"):
        exec(MISSPELT.replace("phonemeter_client", "producers.interface"), {})  # noqa: S102 - the text above


def test_the_sdist_has_all_that_the_wheel_is_built_of(client: Installed) -> None:
    with tarfile.open(client.sdist) as sdist, zipfile.ZipFile(client.wheel) as wheel:
        sources = {name.partition("/")[2] for name in sdist.getnames()}
        assert {name for name in wheel.namelist() if name.startswith("phonemeter_client/")} <= sources


def test_no_module_of_ours_is_imported_by_the_name_that_it_has_in_the_checkout(tmp_path: Path) -> None:
    tree.write_tree(tmp_path)
    texts = {path: path.read_text() for path in (tmp_path / tree.PACKAGE).rglob("*.py")}
    assert len(texts) == len(tree.module_names()) + len(tree.STAGES)
    for text in texts.values():
        compile(text, "module", "exec")
        assert "import producers" not in text
        assert not any(f"from {stage}" in text for stage in tree.STAGES)


def test_its_version_is_that_of_the_project() -> None:
    ours, theirs = (
        tomllib.loads((ROOT / name).read_text())["project"]
        for name in ("pyproject.toml", "tools/client/pyproject.toml")
    )
    assert theirs["version"] == ours["version"]
    assert theirs["requires-python"] == ours["requires-python"]


def test_its_interface_is_sorted_and_complete() -> None:
    public = {name for name in vars(interface) if not name.startswith("_")}
    assert public == set(interface.__all__)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_its_dependencies_exist_for_every_python_that_it_is_for(python: str) -> None:
    project = str(ROOT / "tools" / "client" / "pyproject.toml")
    resolved = said(
        *(UV, "pip", "compile", "--quiet", "--extra=openids", "--only-binary=:all:", "--no-annotate"),
        *("--python-version", python, project),
    )
    assert "kafka-python==" in resolved
