"""Planted bugs in the real processes: TORTURE_MUTATION names one of `tests.simulation.mutations`."""

import os
from unittest.mock import patch

from tests.simulation import mutations


def plant(*stages: str) -> None:
    """Plant the named bug, if it is in one of these stages."""
    for mutation in mutations.ALL:
        if mutation.name == os.environ.get("TORTURE_MUTATION") and mutation.target.split(".")[0] in stages:
            patch(mutation.target, mutation.code).start()
