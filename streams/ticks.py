"""Clock ticks, which a worker writes into the partitions that it owns."""

import msgspec

from metering.events import CLOCK_KEY
from metering.times import format_time


def tick(partition: int, now_ms: int) -> bytes:
    """The event that moves the time of a partition forward."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"tick-{partition}-{now_ms}",
            "source": "/phonemeter/worker",
            "type": "clock.ticked",
            "subject": CLOCK_KEY,
            "time": format_time(now_ms),
        }
    )
