"""The Faust application: `faust -A streams.app worker`. It wires the worker to Faust and decides nothing."""

import gc
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from time import time
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust import Stream
from faust.cli.faust import cli
from faust.types import StreamT
from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kafka_access.aiokafka import faust_options
from metering import topics
from metering.events import CLOCK_KEY
from metering.health import HEALTH_PATHS, health_page
from streams import metrics, preconditions
from streams.log_view import LogViewer
from streams.publisher import Publisher, connect
from streams.record_batches import CODEC, RecordBatchApp
from streams.settings import WorkerSettings
from streams.telemetry import FaustSensor, observe
from streams.ticks import tick
from streams.worker import Worker

logger = logging.getLogger(__name__)

FETCH_BYTES_MAX = 8 * 1024 * 1024
POLL_RECORDS_MAX = 40_000
WAITING_BATCHES_MAX = 1_000
"""Batches per partition that may wait; `streams.record_batches.RECORDS_MAX` limits their records."""

YOUNG_OBJECTS_MAX = 50_000
"""New objects before a garbage collection; at Python's default of 700 it would run all the time."""

METADATA_AGE_MS = 5_000


def create_app(settings: WorkerSettings, logging_config: Mapping[str, Any] | None = None) -> RecordBatchApp:
    """Create the application for these settings; Faust starts it.

    `logging_config` is one for `logging.config.dictConfig`, in place of Faust's own.
    """
    # Every look at the log logs in anew, and aiokafka tells each time.
    logging.getLogger("aiokafka.conn").setLevel(logging.WARNING)
    app = RecordBatchApp(
        settings.kafka_access.group(topics.WORKER_GROUP),
        **faust_options(settings.kafka_access),
        store="memory://",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        # `phonemeter` creates the topics, all with the same number of partitions.
        topic_allow_declare=False,
        topic_disable_leader=True,
        # The partitions of a killed worker are reassigned after the session time-out.
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        broker_commit_interval=0.5,
        broker_max_poll_records=POLL_RECORDS_MAX,
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        consumer_auto_offset_reset="earliest",
        # A topic that was deleted, created again or given more partitions is noticed within this time.
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        # Batches are acked with a checkpoint: there is nothing to wait for when partitions are revoked.
        stream_wait_empty=False,
        stream_buffer_maxsize=WAITING_BATCHES_MAX,
        producer_acks=-1,
        web_bind=settings.listen_host,
        web_host="127.0.0.1",
        web_port=settings.worker_port,
        logging_config=logging_config,
    )
    app.events_topic = settings.kafka_access.topic(topics.EVENTS)
    app.preconditions = preconditions.create(settings.kafka_access)
    metrics.HEALTH.watch(app.preconditions, lambda: app.consumer_generation_id)
    publisher = Publisher(partial(connect, settings.kafka_access), settings.kafka_access.prefix)
    worker = Worker(app, settings.kafka_access, settings.terms(), publisher, LogViewer(settings.kafka_access))
    _attach(app, worker, settings)
    return app


def _attach(app: RecordBatchApp, worker: Worker, settings: WorkerSettings) -> None:
    events = app.topic(app.events_topic, value_serializer=CODEC)

    @app.agent(events, name="meter")
    async def meter(stream: StreamT[Any]) -> None:
        await worker.run(cast("Stream[Any]", stream).noack().events())

    if settings.clock == "wall":
        app.timer(interval=float(settings.tick_interval_s))(partial(_write_ticks, app))

    @app.on_before_shutdown.connect
    async def finish(*_: object, **__: object) -> None:
        await worker.finish()

    app.on_worker_init.connect(_tune_garbage_collection)
    app.sensors.add(FaustSensor())
    app.task(partial(observe, app, app.events_topic))

    @app.page("/metrics")
    async def show_metrics(view: View, _request: Request) -> Response:
        return view.bytes(generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    for path in HEALTH_PATHS:
        app.page(path)(_health_view(path))


def _health_view(path: str) -> Callable[[View, Request], Awaitable[Response]]:
    async def show_health(view: View, _request: Request) -> Response:
        page = health_page(path, metrics.HEALTH.verdict)
        return view.json(page.document, status=HTTPStatus.OK if page.ok else HTTPStatus.SERVICE_UNAVAILABLE)

    return show_health


def _tune_garbage_collection(*_: object, **__: object) -> None:
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, 10, 10)


async def _write_ticks(app: RecordBatchApp) -> None:
    now_ms = int(time() * 1_000)
    for topic, partition in app.consumer.assignment():
        if topic == app.events_topic:
            try:
                await app.producer.send_and_wait(
                    topic, CLOCK_KEY.encode(), tick(partition, now_ms), partition, None, None
                )
            except KafkaError as error:
                logger.warning(
                    "no clock tick for partition %d: %r; the next makes up for it", partition, error
                )


def run(settings: WorkerSettings, logging_config: Mapping[str, Any] | None = None) -> None:
    """Run a worker with these settings until it is stopped."""
    # Faust's banner is no line of a log that a program reads.
    quiet = [] if logging_config is None else ["--quiet"]
    arguments = [*quiet, "--loglevel", "info", "worker"]
    cli(arguments, prog_name="phonemeter worker", app=create_app(settings, logging_config))


def __getattr__(name: str) -> RecordBatchApp:
    """Create `app`, which `faust -A streams.app` looks for, with the settings of the environment."""
    if name != "app":
        raise AttributeError(name)
    app: RecordBatchApp = globals().setdefault(name, create_app(WorkerSettings()))
    return app
