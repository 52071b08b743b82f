"""Retries and waits in the sink's thread, which stays in the consumer group meanwhile."""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Final, ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from sinks.backoff import backoff
from sinks.errors import ClickHouseError
from sinks.ledger_source import LedgerSource
from sinks.metrics import Metrics

log = logging.getLogger(__name__)

IDLE_S: Final = 0.1

P = ParamSpec("P")
T = TypeVar("T")


class InterruptedWorkError(Exception):
    """Work that was given up, because partitions moved or the sink is to stop."""


class Retries:
    """Retries and waits of one sink, which end when partitions move or `stop` is set."""

    def __init__(
        self, source: LedgerSource, metrics: Metrics, stop: Event, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._metrics = metrics
        self._stop = stop
        self._now_s = now_s

    def wait(self, seconds: float) -> None:
        """Wait without leaving the group.

        Raises:
            InterruptedWorkError: partitions moved, or the sink is to stop.
        """
        until_s = self._now_s() + seconds
        while (left_s := until_s - self._now_s()) > 0:
            if self._stop.is_set() or self._source.has_rebalanced:
                raise InterruptedWorkError
            self._source.idle(min(left_s, IDLE_S))

    def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work`, which asks ClickHouse for something, until it does not fail.

        Raises:
            InterruptedWorkError: partitions moved, or the sink is to stop.
        """
        return Retrying(
            retry=retry_if_exception_type(ClickHouseError),
            wait=backoff(),
            sleep=self.wait,
            before_sleep=self._report_failure,
            reraise=True,
        )(work, *args, **kwargs)

    def _report_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause_s = state.next_action.sleep if state.next_action else 0.0
        self._metrics.mark_clickhouse_down(str(error))
        log.warning(
            "ClickHouse: %s; attempt %d failed, the next one in %.1f s.", error, state.attempt_number, pause_s
        )
