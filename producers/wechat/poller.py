"""The readings: every app in turn, again after a while, sooner after a push, later after a failure."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

from producers.errors import ProducerError
from producers.wechat.app_reading import AppReading
from producers.wechat.errors import WechatError
from producers.wechat.health import Health
from producers.wechat.metrics import Metrics

log = logging.getLogger(__name__)

AT_ONCE_MAX: Final = 4
"""Apps that are read at the same time."""

WAKE_PAUSE_S: Final = 5.0
"""The shortest pause before a reading that a push asks for."""

FAILED_FIRST_S: Final = 5.0
LIMITED_FIRST_S: Final = 60.0
LIMITED_S_MAX: Final = 3_600.0


class Poller:
    """Readings of all apps, as tasks of one event loop."""

    def __init__(
        self,
        readings: Mapping[str, AppReading],
        interval_s: float,
        metrics: Metrics,
        health: Health,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._readings = readings
        self._interval_s = interval_s
        self._metrics = metrics
        self._health = health
        self._spread = spread
        self._wanted = {appid: asyncio.Event() for appid in readings}
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    def wake(self, appid: str) -> None:
        """Ask for a reading of an app soon."""
        self._wanted[appid].set()

    async def run(self) -> None:
        """Read until cancelled."""
        self._metrics.begin(iter(self._readings))
        tasks = [
            asyncio.create_task(self._run_app(appid, reading)) for appid, reading in self._readings.items()
        ]
        try:
            # The first error is raised as it is, and not in a group.
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _run_app(self, appid: str, reading: AppReading) -> None:
        failures = 0
        while True:
            began_s = time.monotonic()
            self._wanted[appid].clear()
            failure = await self._read(appid, reading)
            failures = 0 if failure is None else failures + 1
            self._report(appid, failure)
            pause_s = self._interval_s if failure is None else self._pause_s(failure, failures)
            limited = isinstance(failure, WechatError) and failure.trouble == "limited"
            # Spread, so that apps that failed together do not come back together.
            await self._rest(appid, self._spread(0.9, 1.1) * pause_s, began_s, may_wake=not limited)

    async def _read(self, appid: str, reading: AppReading) -> ProducerError | None:
        async with self._at_once:
            try:
                await reading.read()
            except ProducerError as error:
                self._metrics.readings.labels("failed").inc()
                return error
        self._metrics.record_reading(appid)
        return None

    async def _rest(self, appid: str, pause_s: float, began_s: float, *, may_wake: bool) -> None:
        if not may_wake:
            await asyncio.sleep(pause_s)
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._wanted[appid].wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(0.0, WAKE_PAUSE_S - (time.monotonic() - began_s)))

    def _pause_s(self, failure: ProducerError, failures: int) -> float:
        limited = isinstance(failure, WechatError) and failure.trouble == "limited"
        first_s, max_s = (LIMITED_FIRST_S, LIMITED_S_MAX) if limited else (FAILED_FIRST_S, self._interval_s)
        return min(first_s * 2.0 ** min(failures - 1, 16), max(first_s, max_s))

    def _report(self, appid: str, failure: ProducerError | None) -> None:
        """Log a failure once, until it is another one or ends."""
        before = self._health.failures.get(appid, "")
        if failure is None:
            if self._health.failures.pop(appid, None) is not None:
                log.info("WeChat's counts of %s are read again.", appid)
        else:
            self._health.failures[appid] = str(failure)
            if str(failure) != before:
                log.warning("WeChat's counts of %s could not be read, trying again: %s", appid, failure)
        self._metrics.failing_apps.set(len(self._health.failures))
