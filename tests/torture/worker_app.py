"""The worker's application with the torture's wrong deliveries and planted bugs.

TORTURE_DELIVERIES names a file. While it exists, deliveries leave records out at their beginning or repeat
the last ones, and add a line to it each time.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faust.types import TP

from streams import record_batches
from streams.app import app  # noqa: F401 - `app` is what `faust -A` looks for
from streams.fetch_buffer import RecordBatch
from tests.torture.planting import plant

_getmany = record_batches.Consumer._getmany
_before: dict[TP, RecordBatch] = {}
_deliveries = Path(os.environ["TORTURE_DELIVERIES"])


async def _unreliable_getmany(
    self: record_batches.Consumer,
    active_partitions: set[TP] | None,
    timeout: float,  # noqa: ASYNC109 - the signature is Faust's
) -> Mapping[TP, list[Any]]:
    fetched = await _getmany(self, active_partitions, timeout)
    if _active():
        for tp, records in fetched.items():
            if records and isinstance(records[0].value, RecordBatch):
                _disturb(tp, records[0])
    return fetched


def _active() -> bool:
    return _deliveries.exists()


def _disturb(tp: TP, message: Any) -> None:  # noqa: ANN401 - aiokafka's record
    batch = message.value
    last = batch.end - 1
    if last % 3 == 0 and len(batch) > 1:
        kept = batch[len(batch) // 2 :]
        message.value = RecordBatch(kept, kept[0].offset, batch.end)
        _note("skipped forward")
    elif last % 3 == 1 and tp in _before and _before[tp].end == batch.begin:
        message.value = RecordBatch((*_before[tp], *batch), _before[tp].begin, batch.end)
        _note("rewound")
    _before[tp] = batch


def _note(what: str) -> None:
    # The file may be deleted by now, when the fault is over.
    if _active():
        with _deliveries.open("a") as notes:
            notes.write(f"{what}\n")


record_batches.Consumer._getmany = _unreliable_getmany  # type: ignore[method-assign]  # the fault is the point
plant("streams", "metering")
