"""The reads as a part of the HTTP interface: requests, problems, metrics."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dashboards.http import openapi
from dashboards.http.daemon_thread import in_daemon
from dashboards.http.errors import (
    ExplainingBusyError,
    ExplainingTooLongError,
    LedgerAwayError,
    NothingFoundError,
    TooLongError,
    TooMuchError,
    WrongParameterError,
)
from dashboards.http.freshness import Completeness, LogProgress
from dashboards.http.metrics import Outcome, ReadsMetrics
from dashboards.http.parameters import decoded
from dashboards.http.pool import PoolFullError, ReadPool
from dashboards.http.reads import Answered, Question, Reads
from dashboards.http.tags import given_tags
from metering.http_endpoints import Endpoint
from metering.times import SECOND_MS, format_time

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""Interval of looking at the logs."""

FRESH_MS: Final = 60 * SECOND_MS
"""Age of what is known to be complete from which on an answer counts as another one than before."""

CACHING: Final = {"cache-control": "private, no-cache"}
"""An answer may be kept, by who asked alone, and is asked about again each time."""

JSON: Final = "application/json"


class ProgressReader(Protocol):
    """A reader of the progress of worker and sink in Kafka."""

    def progress(self) -> LogProgress:
        """Look at the logs. Blocking.

        Raises:
            ConnectionError: Kafka does not answer.
        """


class ReadsPart:
    """The endpoints of the reads. Of an answer that fails, the metrics say why."""

    def __init__(
        self,
        reads: Reads,
        pool: ReadPool,
        progress: ProgressReader,
        metrics: ReadsMetrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._reads = reads
        self._pool = pool
        self._progress = progress
        self._metrics = metrics
        self._now_ms = now_ms
        self._complete = Completeness()
        self._trouble = ""
        metrics.open.set_function(lambda: pool.open)
        metrics.incomplete.set_function(self._incomplete_s)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """One per read."""
        return [
            Endpoint(
                "GET", read.path, frozenset({"read"}), partial(self._handle, name), openapi.operation(name)
            )
            for name, read in openapi.READS.items()
        ]

    @property
    def schemas(self) -> Mapping[str, Any]:
        """The schemas of the answers."""
        return openapi.schemas()

    def troubles(self) -> Sequence[str]:
        """None: that reads have no answer says nothing about events, and the sink's health tells it."""
        return ()

    async def run(self) -> None:
        """Follow how fresh the figures are, until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_S)
        finally:
            self._pool.close()

    async def look(self) -> None:
        """Look at the logs once; what is known stays if that fails."""
        try:
            self._complete.add(await in_daemon(self._progress.progress))
        except ConnectionError as error:
            if str(error) != self._trouble:
                log.warning("How fresh the figures are is not known: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    async def _handle(self, name: str, request: Request) -> Response:
        began_s = time.monotonic()
        outcome: Outcome = "answered"
        try:
            answered = await self._reads.answer(self._question(name, request))
            outcome = "answered" if answered.body is not None else "unchanged"
            return _response(answered)
        except _FAILURES as error:
            outcome, problem = _problem(error)
            raise problem from error
        finally:
            self._metrics.total.labels(name, outcome).inc()
            self._metrics.seconds.labels(name).observe(time.monotonic() - began_s)

    def _question(self, name: str, request: Request) -> Question:
        texts = request.query_params.multi_items()
        until_ms = self._complete.until_ms
        return Question(
            name,
            tuple(request.state.apps),
            decoded(texts, openapi.READS[name].parameters),
            tuple(sorted(texts)),
            request.path_params.get("appid", ""),
            request.path_params.get("event_id", ""),
            tuple(given_tags(",".join(request.headers.getlist("if-none-match")))),
            None if until_ms is None else format_time(until_ms),
            until_ms is not None and self._now_ms() - until_ms < FRESH_MS,
        )

    def _incomplete_s(self) -> float:
        until_ms = self._complete.until_ms
        return float("nan") if until_ms is None else max(0.0, (self._now_ms() - until_ms) / SECOND_MS)


def _response(answered: Answered) -> Response:
    headers = {**CACHING, **({"etag": answered.tag} if answered.tag else {})}
    if answered.body is None:
        return Response(None, 304, headers)
    return Response(answered.body, 200, headers, JSON)


EXPLAINED_TOO_LONG: Final = (
    "The partition of the event could not be metered again in time; explain=false gives its entries, and the "
    "command phonemeter explain takes the time that it needs."
)

_Answer = tuple[Outcome, int, str, str]

_PROBLEMS: Final[dict[type[Exception], _Answer]] = {
    PoolFullError: ("busy", 503, "Too many reads are under way; ask again.", "1"),
    ExplainingBusyError: ("busy", 503, "Another event is being explained; ask again.", "5"),
    TooLongError: (
        "too_long",
        503,
        "The read took longer than it may; ask for a shorter time, or again later.",
        "10",
    ),
    ExplainingTooLongError: (
        "too_long",
        503,
        EXPLAINED_TOO_LONG,
        "60",
    ),
    LedgerAwayError: ("away", 503, "The ledger can't be read now; events are taken all the same.", "5"),
    TooMuchError: ("too_much", 400, "The answer would be too large: ask for less with limit.", ""),
    NothingFoundError: ("not_found", 404, "", ""),
    WrongParameterError: ("refused", 400, "", ""),
}
"""By failure: the outcome, the status, the sentence, and after how many seconds to ask again."""

_FAILURES: Final = tuple(_PROBLEMS)


def _problem(error: Exception) -> tuple[Outcome, HTTPException]:
    outcome, status, sentence, again = _PROBLEMS[type(error)]
    return outcome, HTTPException(status, sentence or str(error), {"retry-after": again} if again else None)
