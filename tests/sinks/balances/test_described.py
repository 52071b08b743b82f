"""Requests made from the OpenAPI document of decisions and holds: each answer is one that it describes."""

import asyncio

import pytest
from schemathesis import GenerationMode

from tests.producers.gateway.parts import opened
from tests.producers.gateway.schema_search import MODES, described_by, search
from tests.sinks.balances.parts import APP, desk

pytestmark = pytest.mark.slow

EXAMPLES = 40
OPERATIONS = [
    ("/v1/apps/{appid}/route", "GET"),
    ("/v1/apps/{appid}/holds", "POST"),
    ("/v1/apps/{appid}/holds/{hold}", "DELETE"),
]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
async def test_every_answer_is_one_that_the_document_describes(
    path: str, method: str, mode: GenerationMode
) -> None:
    at = desk()
    at.log.buy("P", 1_000_000)
    async with opened(parts=[at.part], scopes=["emit", "read"], apps=[APP]) as door:
        # However long it takes, the key stays known.
        door.ring._monotonic_s = lambda: 0.0
        api = await asyncio.to_thread(described_by, f"http://127.0.0.1:{door.port}")
        await asyncio.to_thread(search, api[path][method], door.text, mode, EXAMPLES, APP)
