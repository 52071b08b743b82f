from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.phonemeter.engine.harness import EngineProcess, running


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine for the tests that leave it as they found it, but for tables of their own."""
    with running(tmp_path_factory.mktemp("engine")) as process:
        yield process


@pytest.fixture
def table() -> str:
    """A name that no other test uses."""
    return f"t_{uuid4().hex[:12]}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory for an engine of the test's own."""
    return tmp_path / "data"
