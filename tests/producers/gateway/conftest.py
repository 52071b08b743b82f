"""A door that tests share: each leaves it as it was."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.producers.gateway.parts import ReadPart, SharedDoor, opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[SharedDoor]:
    part = ReadPart()
    async with opened(parts=[part], scopes=["emit", "read"]) as door:
        yield SharedDoor(door, part)
