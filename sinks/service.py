"""The sink as a service: brings the schema up to date, then moves the ledger until it is told to stop."""

import gc
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

from kafka.errors import KafkaError
from tenacity import RetryCallState

from sinks import migrations
from sinks.batches import Limits
from sinks.connection import FAILURES, connect, sentence
from sinks.following import followed
from sinks.metrics import Metrics
from sinks.serving import metrics_served, patiently, stopped_by_signals
from sinks.settings import SinkSettings
from sinks.sink import Sink, backoff
from sinks.source import Source
from sinks.store import Store

log = logging.getLogger(__name__)

DRAIN_S_MAX: Final = 3.0
"""How long the last INSERT may take after the signal; a service has five seconds to end."""

ROWS_PER_COLLECTION: Final = 100_000

T = TypeVar("T")


def run(settings: SinkSettings, views: Iterable[str] = (), stop: threading.Event | None = None) -> None:
    """Move `phone-ledger` into ClickHouse until SIGTERM or SIGINT; then store what is held and commit.

    The port of the metrics answers from when the schema is up to date and the consumer is subscribed.

    Args:
        settings: where everything is.
        views: statements that create or replace what is derived from the ledger, run in order at every start.
        stop: set to end the service from within the process; signals are then left alone.

    Raises:
        SinkError: the database is of a newer version, or the metrics' port is taken.
    """
    stopping = stop or threading.Event()
    # The driver adds a traceback to each failed attempt that the sink tells of in a sentence.
    logging.getLogger("clickhouse_driver.connection").setLevel(logging.CRITICAL)
    with ExitStack() as closing:
        if stop is None:
            closing.enter_context(stopped_by_signals(stopping, "storing what is held"))
        closing.enter_context(_rare_garbage_collections())
        metrics = Metrics()
        statements = tuple(views)
        prepared = _patiently(
            "ClickHouse", FAILURES, stopping, metrics, lambda: _prepare(settings.clickhouse, statements)
        )
        if prepared is None:
            return
        source = _patiently("Kafka", (KafkaError,), stopping, metrics, lambda: Source(settings.kafka))
        if source is None:
            return
        closing.callback(source.close)
        store = Store(settings.clickhouse)
        closing.callback(store.close)
        closing.enter_context(_aborted_if_slow(stopping, store))
        closing.enter_context(
            metrics_served(
                metrics.registry,
                settings.listen_host,
                settings.sink_metrics_port,
                service="sink",
                setting="PHONEMETER_SINK_METRICS_PORT",
            )
        )
        closing.enter_context(followed(settings.kafka, settings.clickhouse, metrics, stopping))
        log.info(
            "The sink is ready; metrics on http://%s:%d/metrics.",
            settings.listen_host,
            settings.sink_metrics_port,
        )
        limits = Limits(
            rows=settings.sink_batch_rows,
            bytes=settings.sink_batch_bytes,
            total_bytes=settings.sink_buffer_bytes,
            age_s=settings.sink_flush_ms / 1_000,
        )
        Sink(source, store, limits, metrics, stopping, id_digits=settings.event_id_digits).run()
    log.info("The sink has ended.")


def _prepare(url: str, views: tuple[str, ...]) -> bool:
    migrations.migrate(url)
    with connect(url) as client:
        for statement in views:
            client.execute(statement)
    return True


def _patiently(
    what: str,
    failures: tuple[type[Exception], ...],
    stopping: threading.Event,
    metrics: Metrics,
    work: Callable[[], T],
) -> T | None:
    """Do what may have to wait for a server that is not up yet; None if told to stop before it was."""

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        metrics.insert_errors.inc()
        log.warning(
            "%s: %s; attempt %d failed, trying again.",
            what,
            sentence(error or Exception()),
            state.attempt_number,
        )

    return patiently(work, failures, backoff(), stopping, tell)


@contextmanager
def _rare_garbage_collections() -> Iterator[None]:
    """Ledger rows hold no cycles; looking for some after every 700 of them takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(ROWS_PER_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _aborted_if_slow(stopping: threading.Event, store: Store) -> Iterator[None]:
    """Break off an INSERT that outlasts the time to stop; its lines are recognised at the next start."""
    ended = threading.Event()

    def watch() -> None:
        stopping.wait()
        if not ended.wait(DRAIN_S_MAX):
            log.warning(
                "ClickHouse takes longer than %.0f s to acknowledge; not waiting for it.", DRAIN_S_MAX
            )
            store.abort()

    watcher = threading.Thread(target=watch, name="phonemeter-sink-drain", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        stopping.set()
        watcher.join()
