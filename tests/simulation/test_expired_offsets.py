"""Groups that were away until Kafka forgot their committed offsets, among all other faults."""

from collections import Counter

import pytest

from streams import ownership
from tests.simulation import world

pytestmark = pytest.mark.slow

SEEDS = 12


def test_groups_whose_offsets_expired_go_on_where_their_state_is(monkeypatch: pytest.MonkeyPatch) -> None:
    expiries = {
        "expire_workers": lambda of: of.workers.expire(),
        "expire_sinks": lambda of: of.sinks.expire(),
    }
    monkeypatch.setattr(world, "FAULTS", {**world.FAULTS, **expiries})
    monkeypatch.setattr(world, "FAULT_NAMES", (*world.FAULT_NAMES, *expiries, *expiries))
    monkeypatch.setattr(ownership, "FAR_BEHIND_RECORDS", 5)
    fired: Counter[str] = Counter()
    for seed in range(SEEDS):
        one = world.World(seed)
        one.run()
        fired += one.faults
    assert fired.keys() >= {"offsets of the workers expired", "offsets of the sinks expired"}
    assert fired["worker sent past what it knows"] > 0
