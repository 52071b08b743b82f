"""Planted bugs in the real processes: TORTURE_MUTATION names one of `tests.simulation.mutations`."""

import os
from unittest.mock import patch

from tests.simulation import mutations

SIMULATED_PRODUCER = "tests.simulation.kafka.Producer"
REAL_PRODUCER = "streams.record_batches.Producer"


def plant(*stages: str) -> None:
    """Plant the bug that is asked for, if it is one of these stages'."""
    for mutation in mutations.ALL:
        target = mutation.target.replace(SIMULATED_PRODUCER, REAL_PRODUCER)
        if mutation.name == os.environ.get("TORTURE_MUTATION") and target.partition(".")[0] in stages:
            patch(target, mutation.code).start()
