"""The sink as a service."""

import gc
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.health_checks import HealthLimits
from metering.preconditions import SINK_TOPICS
from sinks import migrations
from sinks.batches import Limits
from sinks.connection import FAILURES, connect, sentence
from sinks.delivery_follower import follow_deliveries
from sinks.ledger_source import LedgerSource
from sinks.ledger_table import LedgerTable
from sinks.metrics import Metrics
from sinks.metrics_server import serve_metrics
from sinks.preconditions import Preconditions, broker_view
from sinks.retention import Retention, apply
from sinks.schema_target import target_of
from sinks.settings import SinkSettings
from sinks.signals import stop_on_signals
from sinks.sink import Sink
from sinks.startup import wait_for_server

log = logging.getLogger(__name__)

DRAIN_S_MAX: Final = 3.0
"""Time that the last INSERT may take after the signal; a service has five seconds to end."""

ROWS_PER_COLLECTION: Final = 100_000


def run(settings: SinkSettings, views: Iterable[str] = (), stop: threading.Event | None = None) -> None:
    """Copy `phone-ledger` to ClickHouse until SIGTERM or SIGINT; then store what is held, and commit.

    Metrics and health are served from the start. The sink has started when the schema is up to date and its
    loop has made one turn. The statements in `views` create or replace the views, in order at every start.
    `stop` ends the service from within the process; signals are then left alone.

    Raises:
        SinkError: the database is of a newer version, a precondition does not hold, or the metrics' port is
            taken.
    """
    stopping = stop or threading.Event()
    # The driver logs a traceback of each failure that the sink logs in a sentence.
    logging.getLogger("clickhouse_driver.connection").setLevel(logging.CRITICAL)
    with ExitStack() as closing:
        if stop is None:
            closing.enter_context(stop_on_signals(stopping, "storing what is held"))
        closing.enter_context(_rare_garbage_collections())
        metrics = Metrics()
        preconditions = Preconditions(SINK_TOPICS, partial(broker_view, settings.kafka_access))
        limits = HealthLimits().with_pause(settings.sink_flush_ms / 1_000)
        metrics.health.judge_by(preconditions, lambda: metrics.problems(limits))
        closing.enter_context(
            serve_metrics(
                metrics.registry,
                metrics.health.verdict,
                settings.listen_host,
                settings.sink_metrics_port,
                service="sink",
                setting="PHONEMETER_SINK_METRICS_PORT",
            )
        )
        prepare = partial(_prepare, settings.clickhouse, tuple(views), settings.retention)
        prepared = wait_for_server(
            "ClickHouse",
            prepare,
            FAILURES,
            stopping,
            metrics.health,
            failures=metrics.insert_errors,
            describe=sentence,
        )
        if prepared is None:
            return
        source = wait_for_server(
            "Kafka",
            lambda: _source(settings.kafka_access, preconditions),
            KafkaError,
            stopping,
            metrics.health,
            failures=metrics.kafka_errors,
        )
        if source is None:
            return
        closing.callback(source.close)
        table = LedgerTable(settings.clickhouse, recreate=prepare)
        closing.callback(table.close)
        closing.enter_context(_abort_slow_insert(stopping, table))
        closing.enter_context(preconditions.watched())
        closing.enter_context(
            follow_deliveries(settings.kafka_access, settings.clickhouse, metrics, stopping, prepare)
        )
        log.info(
            "The sink is ready; metrics on http://%s:%d/metrics.",
            settings.listen_host,
            settings.sink_metrics_port,
        )
        batch_limits = Limits(
            rows=settings.sink_batch_rows,
            bytes=settings.sink_batch_bytes,
            total_bytes=settings.sink_buffer_bytes,
            age_s=settings.sink_flush_ms / 1_000,
        )
        Sink(source, table, batch_limits, metrics, stopping, id_digits=settings.event_id_digits).run()
    log.info("The sink has ended.")


def _source(kafka: KafkaAccess, preconditions: Preconditions) -> LedgerSource:
    preconditions.require()
    return LedgerSource(kafka)


def _prepare(url: str, views: tuple[str, ...], retention: Retention) -> bool:
    migrations.migrate(url)
    for change in apply(url, retention):
        log.info("What the ledger keeps was changed: %s.", change)
    with connect(url) as client:
        target_of(url).create_views(client, views)
    return True


@contextmanager
def _rare_garbage_collections() -> Iterator[None]:
    """Collect garbage rarely: rows have no cycles, and one per 700 rows would take a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(ROWS_PER_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _abort_slow_insert(stopping: threading.Event, table: LedgerTable) -> Iterator[None]:
    """Abort an INSERT that takes too long after the signal; its entries are recognised at the next start."""
    ended = threading.Event()

    def watch() -> None:
        stopping.wait()
        if not ended.wait(DRAIN_S_MAX):
            log.warning(
                "ClickHouse takes longer than %.0f s to acknowledge; not waiting for it.", DRAIN_S_MAX
            )
            table.abort()

    watcher = threading.Thread(target=watch, name="phonemeter-sink-drain", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        stopping.set()
        watcher.join()
