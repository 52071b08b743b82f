"""The worker's application with what only the torture understands: deliveries gone wrong, planted bugs.

TORTURE_DELIVERIES names a file: while it exists, deliveries leave records out at their beginning or repeat
what came before, and every time is noted in it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faust.types import TP

from streams import record_batches
from streams.app import app  # noqa: F401 - `app` is what `faust -A` looks for
from streams.record_batches import RecordBatch
from tests.torture.planting import plant

_deliver = record_batches.Consumer._getmany
_before: dict[TP, RecordBatch] = {}
_deliveries = Path(os.environ["TORTURE_DELIVERIES"])


async def _untrustworthy(
    self: record_batches.Consumer,
    active_partitions: set[TP] | None,
    timeout: float,  # noqa: ASYNC109 - the signature is Faust's
) -> Mapping[TP, list[Any]]:
    fetched = await _deliver(self, active_partitions, timeout)
    if _wanted():
        for tp, records in fetched.items():
            if records and isinstance(records[0].value, RecordBatch):
                _go_wrong(tp, records[0])
    return fetched


def _wanted() -> bool:
    return _deliveries.exists()


def _go_wrong(tp: TP, message: Any) -> None:  # noqa: ANN401 - aiokafka's record
    batch = message.value
    last = batch[-1].offset
    if last % 3 == 0 and len(batch) > 1:
        message.value = RecordBatch(batch[len(batch) // 2 :])
        _note("skipped forward")
    elif last % 3 == 1 and tp in _before:
        message.value = RecordBatch((*_before[tp], *batch))
        _note("rewound")
    _before[tp] = batch


def _note(what: str) -> None:
    # The file may be gone by now: then nobody wants to know any more.
    if _wanted():
        with _deliveries.open("a") as notes:
            notes.write(f"{what}\n")


record_batches.Consumer._getmany = _untrustworthy  # type: ignore[method-assign]  # the fault is the point
plant("streams", "metering")
