"""Fixtures: an engine that a test may kill, and a receiver of alerts."""

from collections.abc import Callable, Iterator

import pytest

from tests.real_parts import starts_real_parts
from tests.sinks.notifier.parts import Receiver
from tests.sinks.parts import EngineProcess


@pytest.fixture(scope="module")
@starts_real_parts
def module_engine(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[EngineProcess]:
    """An engine for the tests of a module, one after the other."""
    with EngineProcess(tmp_path_factory.mktemp("engine"), free_port(), free_port()) as engine:
        yield engine


@pytest.fixture
def own_engine(module_engine: EngineProcess) -> EngineProcess:
    """An engine without a ledger, which this test may kill and start again."""
    module_engine.renew()
    return module_engine


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts every delivery."""
    with Receiver() as running:
        yield running
