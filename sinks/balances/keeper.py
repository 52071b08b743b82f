"""The keeper of the balances: threads that fill the memory, follow the ledger and read forecasts."""

import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.events import Capability
from sinks.backoff import backoff_s
from sinks.balances.errors import UnsettledLogError
from sinks.balances.forecasts import ForecastReader
from sinks.balances.freshness import Freshness
from sinks.balances.memory import BalanceMemory, wall_clock_ms
from sinks.balances.metrics import BalanceMetrics
from sinks.balances.tail import Awaited, LedgerTail
from sinks.errors import ClickHouseError

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.1
END_S: Final = 1.0
SWITCH_S: Final = 0.000_5
"""Time for which a thread here may keep the interpreter while another one waits for it."""


class KeeperPlaces(NamedTuple):
    """The sources of the balances, and the number of apps that are kept."""

    kafka: KafkaAccess
    clickhouse: str
    apps_max: int


class BalanceKeeper:
    """Keeps a memory as fresh as the stream, and fills another one when the log turns out to be another.

    Attributes:
        memory: the memory; None until one was filled, and while none can be.
        trouble: why there is none, or why it is not followed; empty if it is.
    """

    def __init__(self, places: KeeperPlaces, awaited: Awaited, metrics: BalanceMetrics) -> None:
        self._places = places
        self._awaited = awaited
        self._metrics = metrics
        self._stopping = threading.Event()
        self._forecasts = ForecastReader(places.clickhouse)
        self._freshness: Freshness | None = None
        self._stopped: tuple[str, ...] = ()
        self.memory: BalanceMemory | None = None
        self.trouble = "The balances have not been read yet."

    def forecast(self, appid: str, capability: Capability) -> tuple[int, int | None]:
        """Calls a day and the run-out of an app as forecast; 0 and None if nothing is."""
        return self._forecasts.of(appid, capability)

    def troubles(self) -> tuple[str, ...]:
        """The troubles of now, each in a sentence."""
        freshness = self._freshness
        told = (self.trouble, freshness.trouble if freshness else "", *self._stopped, self._forecasts.trouble)
        memory = self.memory
        if memory is not None and memory.left_out:
            told += (f"Only {len(memory):,} apps have a place: raise PHONEMETER_ROUTE_APPS_MAX.",)
        return tuple(filter(None, told))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Work in threads while the block runs."""
        works = (self._follow, lambda: self._forecasts.run(self._stopping))
        threads = [
            threading.Thread(
                target=self.work, args=(work,), name=f"phonemeter-balances-{number}", daemon=True
            )
            for number, work in enumerate(works)
        ]
        interval_s = sys.getswitchinterval()
        # Who answers requests would wait for 5 ms whenever one of these works.
        sys.setswitchinterval(SWITCH_S)
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(END_S)
            sys.setswitchinterval(interval_s)

    def work(self, work: Callable[[], None]) -> None:
        """Do the work of a thread; an error that nothing expects ends it, which must not stay unnoticed."""
        try:
            work()
        finally:
            if not self._stopping.is_set():
                self._report(
                    "A thread of the balances has ended by a fault, see the log; restart the gateway."
                )

    def _follow(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                tail = self._filled()
            except (KafkaError, ClickHouseError, UnsettledLogError) as error:
                failures += 1
                self._report(f"The balances can't be read ({error}); trying again.")
                self._stopping.wait(backoff_s(failures))
                continue
            failures = 0
            try:
                self._read(tail)
            except UnsettledLogError as error:
                self.memory = None
                self._report(f"The balances are read again, as {error}.")
            finally:
                tail.close()

    def _filled(self) -> LedgerTail:
        began_ms = wall_clock_ms()
        tail = LedgerTail(self._places.kafka, self._places.clickhouse, self._places.apps_max, wall_clock_ms())
        self.memory, self._stopped = tail.memory, ()
        # What is kept for good would be searched again and again for cycles, which holds everybody up.
        gc.collect()
        gc.freeze()
        self._metrics.fills.inc()
        self.trouble = ""
        took_ms = wall_clock_ms() - began_ms
        log.info("The balances of %d apps were read in %d ms.", len(tail.memory), took_ms)
        return tail

    def _read(self, tail: LedgerTail) -> None:
        """Read on, until stopped or the log is another one."""
        freshness = self._freshness = Freshness(tail.memory.partitions)
        ended = threading.Event()
        with _thread(lambda: freshness.run(self._places.kafka, ended), "phonemeter-balances-age", ended):
            failures = 0
            while not self._stopping.is_set():
                try:
                    taken = tail.turn(PAUSE_S, self._awaited)
                except KafkaError as error:
                    failures += 1
                    self._report(f"The balances are not followed ({error}); trying again.")
                    self._stopping.wait(backoff_s(failures))
                    continue
                failures, self.trouble = 0, ""
                self._metrics.entries.inc(taken)
                self._stopped = tuple(tail.stopped.values())
                freshness.confirm(tail.memory, tail.next_offsets)

    def _report(self, sentence: str) -> None:
        self._metrics.failures.inc()
        if sentence != self.trouble:
            log.warning("%s", sentence)
        self.trouble = sentence


@contextmanager
def _thread(work: Callable[[], None], name: str, ended: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(END_S)
