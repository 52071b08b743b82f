from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.phonemeter.engine.guards import Outside, outside_of
from tests.phonemeter.engine.harness import EngineProcess, running
from tests.real_parts import starts_real_parts


@pytest.fixture(scope="session")
@starts_real_parts
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine for tests that change nothing but tables of their own."""
    with running(tmp_path_factory.mktemp("engine")) as process:
        yield process


@pytest.fixture
def table() -> str:
    """The name of a table for one test."""
    return f"t_{uuid4().hex[:12]}"


@pytest.fixture
@starts_real_parts
def data(tmp_path: Path) -> Path:
    """A directory for an engine of one test."""
    return tmp_path / "data"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """A file and a server that no statement may reach."""
    with outside_of(tmp_path / "outside") as found:
        yield found
