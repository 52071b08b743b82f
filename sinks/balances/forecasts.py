"""The forecasts of all apps, read from ClickHouse every minute: they change slowly."""

import logging
import threading
from typing import Final

from metering.events import Capability
from sinks.connection import FAILURES, connect, rows, sentence

log = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
FIRST_S: Final = 5.0
"""Pause after a failure: at the start the views may not be there yet."""

_FORECASTS: Final = """
SELECT appid, toString(capability), toInt64(ceil(calls_a_day)), toUnixTimestamp64Milli(run_out_at)
FROM forecasts
"""

Forecast = tuple[int, int | None]
NONE: Final[Forecast] = (0, None)


class ForecastReader:
    """The forecasts as of the last reading.

    Attributes:
        trouble: why the last reading failed; empty if it did not.
    """

    def __init__(self, clickhouse: str) -> None:
        self._clickhouse = clickhouse
        self._forecasts: dict[tuple[str, str], Forecast] = {}
        self.trouble = ""

    def of(self, appid: str, capability: Capability) -> Forecast:
        """Calls a day and the run-out of an app."""
        return self._forecasts.get((appid, capability), NONE)

    def run(self, stopping: threading.Event) -> None:
        """Read again and again, until `stopping` is set."""
        while not stopping.is_set():
            self.read()
            stopping.wait(FIRST_S if self.trouble else INTERVAL_S)

    def read(self) -> None:
        """Read all; those of before stay if that fails."""
        try:
            with connect(self._clickhouse) as client:
                found = rows(client, _FORECASTS)
        except FAILURES as error:
            trouble = f"The forecasts can't be read ({sentence(error)})."
            if not self.trouble:
                log.warning("%s", trouble)
            self.trouble = trouble
            return
        self._forecasts = {(appid, of): (calls, run_out_ms) for appid, of, calls, run_out_ms in found}
        self.trouble = ""
