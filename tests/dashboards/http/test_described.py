"""Requests made from the OpenAPI document of the reads: each answer is one that it describes."""

import asyncio

import pytest
from schemathesis import GenerationMode

from dashboards.http.openapi import READS
from tests.conftest import RunningEngine
from tests.dashboards.http.parts import reading
from tests.dashboards.http.test_reads import ENTRIES
from tests.phonemeter.cli.storing import stored
from tests.producers.gateway.schema_search import MODES, described_by, search

pytestmark = pytest.mark.slow

EXAMPLES = 12


@pytest.fixture(scope="module")
def url(engine: RunningEngine) -> str:
    """A database with a ledger."""
    return stored(engine.url("described"), ENTRIES)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
@pytest.mark.parametrize("name", READS)
async def test_every_answer_of_a_read_is_one_that_the_document_describes(
    name: str, mode: GenerationMode, url: str
) -> None:
    async with reading(url) as served:
        # However long it takes, the key stays known.
        served.door.ring._monotonic_s = lambda: 0.0
        api = await asyncio.to_thread(described_by, f"http://127.0.0.1:{served.door.port}")
        operation = api[READS[name].path.replace(":path}", "}")]["GET"]
        await asyncio.to_thread(search, operation, served.door.text, mode, EXAMPLES)
