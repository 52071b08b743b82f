"""Fixtures: an engine that a test may kill, and a receiver of alerts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real_parts import starts_real_parts
from tests.sinks.notifier.parts import Receiver
from tests.sinks.parts import EngineProcess


@pytest.fixture
@starts_real_parts
def own_engine(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[EngineProcess]:
    """An engine that this test may kill and start again."""
    with EngineProcess(tmp_path, free_port(), free_port()) as engine:
        yield engine


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts every delivery."""
    with Receiver() as running:
        yield running
