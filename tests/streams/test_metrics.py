"""The worker's metrics of a batch."""

import pytest
from msgspec.structs import replace

from metering.partition_state import PartitionState
from metering.records import Record, RecordRange
from metering.rules import Rules
from metering.times import DAY_MS
from streams import metrics
from streams.batch_step import PartitionProgress, plan_batch
from streams.state_log import StateLayout
from tests.streams.building import APPS, START_MS, record


def refused(offset: int, *, capability: str = "quick", errno: int = 1_400_001, late_ms: int = 0) -> Record:
    """A failed authorization that arrived a second after its time, or later."""
    kind, time_ms = "phone.authorization.failed", START_MS - late_ms
    one = record(offset, APPS[0], kind, time_ms, f"tap-{offset}", capability=capability, errno=errno)
    return replace(one, recorded_at_ms=START_MS + 1_000)


def value(capability: str) -> float:
    labels = {"capability": capability}
    return metrics.REGISTRY.get_sample_value("phonemeter_worker_refused_authorizations_total", labels) or 0.0


@pytest.mark.parametrize("capability", ["quick", "realtime"])
def test_refusals_by_the_platform_are_counted_but_not_those_of_history(capability: str) -> None:
    batch = [
        refused(0, capability=capability),
        refused(1, capability=capability),
        refused(2, capability=capability, errno=1_400_002),
        refused(3, capability=capability, late_ms=2 * DAY_MS),
    ]
    before = PartitionProgress.at_checkpoint(PartitionState(3), StateLayout())
    plan = plan_batch(before, batch, Rules())
    assert plan is not None
    counted = value(capability)
    metrics.observe_batch(3, RecordRange(batch, 0, 4), before, plan, 0.01)
    assert value(capability) - counted == 2
