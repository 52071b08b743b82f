"""States of an owned partition, and a restart that leaves nothing behind."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from metering.log_identity import Mark
from sinks.ledger_source import LedgerSource
from sinks.ledger_table import LedgerTable
from sinks.metrics import Metrics
from sinks.owned_partition import OwnedPartition, PartitionContext, State
from sinks.retries import Retries
from tests.sinks.world import Clock, Log, Shelf, records


class Attempts:
    """Stands in for `Retries`: each thing is attempted once."""

    def call(self, work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - of `work`
        return work(*arguments)


def partition(log: Log, shelf: Shelf | None = None) -> OwnedPartition:
    return OwnedPartition(
        0,
        PartitionContext(
            cast("LedgerSource", log),
            cast("LedgerTable", shelf or Shelf()),
            Metrics(),
            cast("Retries", Attempts()),
            Clock(),
        ),
    )


def begun(log: Log) -> OwnedPartition:
    made = partition(log)
    made.begin()
    return made


def facts(one: OwnedPartition) -> dict[str, Any]:
    return {**vars(one), "batch": vars(one.batch)}


def test_an_assigned_partition_waits_and_takes_nothing() -> None:
    log = Log(records())
    (fetched,) = log.poll(0.0)
    waiting = partition(log)
    assert (waiting.state, waiting.has_begun, waiting.records_of(fetched)) == (State.WAITING, False, ())
    waiting.take(fetched.records[0])
    assert not len(waiting.batch)


@pytest.mark.parametrize("end", ["stop", "mark_diverged", "none"])
def test_a_restart_leaves_nothing_of_what_was_known(end: str) -> None:
    log = Log(records())
    one = begun(log)
    fresh = facts(partition(log)) | {
        name: vars(one)[name] for name in ("_source", "_table", "_metrics", "_retries", "_now_s")
    }
    log.deliver = [[0, 1]]
    log.stopped = False
    (fetched,) = log.poll(0.0)
    for record in one.records_of(fetched):
        one.take(record)
    one.pass_over(fetched)
    one.seek_back("stands")
    one.watched_offset = one.batch.next_offset
    if end == "stop":
        one.stop("record 2: it is poison")
    elif end == "mark_diverged":
        one.mark_diverged()
    assert len(one.batch)
    assert one.mark != Mark()
    one.restart()
    assert facts(one) == fresh


def test_a_stopped_partition_is_delivered_again_only_after_a_restart() -> None:
    log = Log(records())
    one = begun(log)
    assert (one.state, log.stopped) == (State.READING, False)
    one.stop("record 0: it is poison")
    assert (one.state, one.is_read, log.stopped) == (State.STOPPED, False, True)
    one.restart()
    one.begin()
    assert (one.state, log.stopped) == (State.READING, False)
