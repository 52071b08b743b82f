"""Requests for events made from the OpenAPI document: each answer is one that it describes.

Those for reads are in `tests/dashboards/http`, for decisions and holds in `tests/sinks/balances`. A longer
search, with all phases: `python -m tests.producers.gateway.described`.
"""

import pytest
import schemathesis
from schemathesis import Config, GenerationMode

from tests.producers.gateway.described import described_application
from tests.producers.gateway.schema_search import CONFIG, MODES, search

pytestmark = pytest.mark.slow

EXAMPLES = 60


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
def test_every_answer_to_events_is_one_that_the_document_describes(mode: GenerationMode) -> None:
    key, web = described_application()
    api = schemathesis.openapi.from_asgi("/v1/openapi.json", web, config=Config.from_path(CONFIG))
    search(api["/v1/events"]["POST"], key, mode, EXAMPLES)
