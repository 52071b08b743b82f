"""The sink with the torture's wrong deliveries and planted bugs.

TORTURE_DELIVERIES names a file. While it exists, deliveries leave records out at their beginning or
entirely, or repeat the last ones, and add a line to it each time.
"""

import logging
import os
from pathlib import Path

from sinks.ledger_source import FetchedRange, LedgerSource
from sinks.service import run
from sinks.settings import SinkSettings
from tests.torture.planting import plant

_poll = LedgerSource.poll
_before: dict[int, FetchedRange] = {}
_deliveries = Path(os.environ["TORTURE_DELIVERIES"])


def _unreliable_poll(self: LedgerSource, pause_s: float) -> list[FetchedRange]:
    polled = _poll(self, pause_s)
    return [found for one in polled for found in _disturbed(one)] if _deliveries.exists() else polled


def _disturbed(one: FetchedRange) -> list[FetchedRange]:
    if not one.records:
        return [one]
    last = one.records[-1].offset
    if last % 4 == 0:
        _note("sink skipped to the end")
        return []
    if last % 4 == 1 and len(one.records) > 1:
        _note("sink skipped forward")
        left = one.records[len(one.records) // 2 :]
        return [one._replace(begin=left[0].offset, records=left)]
    before = _before.get(one.partition)
    _before[one.partition] = one
    if last % 4 == 2 and before is not None:
        _note("sink rewound")
        return [before, one]
    return [one]


def _note(what: str) -> None:
    # The file may be deleted by now, when the fault is over.
    if _deliveries.exists():
        with _deliveries.open("a") as notes:
            notes.write(f"{what}\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    LedgerSource.poll = _unreliable_poll  # type: ignore[method-assign]  # the fault is the point
    plant("sinks")
    run(SinkSettings())
