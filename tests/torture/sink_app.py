"""The sink with what only the torture understands: deliveries gone wrong, planted bugs.

TORTURE_DELIVERIES names a file: while it exists, deliveries leave records out, at their beginning, in their
middle or altogether, or repeat what came before; every time is noted in it.
"""

import logging
import os
from pathlib import Path

from sinks.service import run
from sinks.settings import SinkSettings
from sinks.source import Record, Source
from tests.torture.planting import plant

_deliver = Source.poll
_before: list[Record] = []
_deliveries = Path(os.environ["TORTURE_DELIVERIES"])


def _untrustworthy(self: Source, pause_s: float) -> list[Record]:
    polled = _deliver(self, pause_s)
    if not polled or not _deliveries.exists():
        return polled
    last = polled[-1].offset
    if last % 4 == 0:
        _note("sink skipped to the end")
        return []
    if last % 4 == 1 and len(polled) > 1:
        _note("sink skipped forward")
        return polled[len(polled) // 2 :]
    again = [*_before, *polled] if last % 4 == 2 else polled
    _before[:] = polled
    if len(again) > len(polled):
        _note("sink rewound")
    return again


def _note(what: str) -> None:
    # The file may be gone by now: then nobody wants to know any more.
    if _deliveries.exists():
        with _deliveries.open("a") as notes:
            notes.write(f"{what}\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    Source.poll = _untrustworthy  # type: ignore[method-assign]  # the fault is the point
    plant("sinks")
    run(SinkSettings())
