"""An engine of the test's own, which it may kill, and the processes around it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sinks.parts import EngineProcess


@pytest.fixture
def own_engine(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[EngineProcess]:
    """An engine that this test may kill and start again."""
    with EngineProcess(tmp_path, free_port(), free_port()) as engine:
        yield engine
