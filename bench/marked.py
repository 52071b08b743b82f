"""`python -m bench.marked worker`: the product's own command, which notes when its first events arrived.

The peers of the benchmark note the same: wall time and the CPU that the process has used so far, when the
first events are in its hands and before anything was done with them. So starting up is not counted.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.processes import MARK_VARIABLE
from phonemeter.cli import main


def note_first_events(path: Path) -> None:
    """Make the worker's consumer write the note once, at its first delivery that is not empty."""
    from streams.record_batches import Consumer  # noqa: PLC0415 - a sink must not be made to load Faust

    deliver = Consumer._getmany  # noqa: SLF001 - where every event enters the worker, extended there as well

    async def noting(self: Consumer, *arguments: Any, **named: Any) -> Mapping[Any, Any]:  # noqa: ANN401 - passed on
        delivered = await deliver(self, *arguments, **named)
        if any(delivered.values()):
            partial = path.with_suffix(".partial")
            partial.write_text(f"{time.time()} {time.process_time()}")
            partial.rename(path)
            Consumer._getmany = deliver  # type: ignore[method-assign]  # noqa: SLF001 - as it was before
        return delivered

    Consumer._getmany = noting  # type: ignore[method-assign]  # noqa: SLF001 - see above


if __name__ == "__main__":
    import sys

    if sys.argv[1:] == ["worker"]:
        note_first_events(Path(os.environ[MARK_VARIABLE]))
    main()
