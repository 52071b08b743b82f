"""Logs in which ids are forgotten."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.metering.logs import CHUNK_IDS


@pytest.fixture(scope="module")
def small_chunks() -> Iterator[None]:
    """Have few ids forgotten together, so that logs as short as those of `tests.metering.logs` reach it."""
    with patch("metering.remembered_ids.CHUNK_IDS", CHUNK_IDS):
        yield
