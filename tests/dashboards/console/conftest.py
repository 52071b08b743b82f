"""A console that the tests of a module share; each adds the members and keys that it changes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.dashboards.console.parts import ServedConsole, served_console


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with served_console(tmp_path_factory.mktemp("console")) as served:
        yield served
