"""The Faust application: `faust -A streams.app worker`. It wires the worker to Faust and decides nothing."""

import gc
import logging
from functools import partial
from time import time
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust import Stream
from faust.types import StreamT
from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from metering import topics
from metering.events import CLOCK_KEY
from streams import metrics
from streams.publishing import Publisher, connect
from streams.record_batches import CODEC, RecordBatchApp
from streams.settings import WorkerSettings
from streams.telemetry import FaustSensor, observe
from streams.ticks import tick
from streams.worker import Worker

logger = logging.getLogger(__name__)

FETCH_BYTES_MAX = 8 * 1024 * 1024
POLL_RECORDS_MAX = 40_000
WAITING_BATCHES_MAX = 1_000
"""Batches per partition that may wait, however small; their records are limited by `RECORDS_MAX`."""

YOUNG_OBJECTS_MAX = 50_000
"""Objects made before garbage is looked for; at Python's default of 700 it is looked for all the time."""

METADATA_AGE_MS = 5_000


def create_app(settings: WorkerSettings) -> RecordBatchApp:
    """The application for these settings, not started yet."""
    app = RecordBatchApp(
        topics.WORKER_GROUP,
        broker=";".join(f"kafka://{server}" for server in settings.kafka.split(",")),
        store="memory://",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        # One partition count for all topics is the stack's to create and check, not a worker's to declare.
        topic_allow_declare=False,
        topic_disable_leader=True,
        # A killed worker's partitions are taken over after the session time-out.
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        broker_commit_interval=0.5,
        broker_max_poll_records=POLL_RECORDS_MAX,
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        consumer_auto_offset_reset="earliest",
        # How soon a topic that was deleted, made anew or given more partitions is noticed, and refused.
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        # Batches are acked once they are in the state: there is nothing to wait for when partitions go.
        stream_wait_empty=False,
        stream_buffer_maxsize=WAITING_BATCHES_MAX,
        producer_acks=-1,
        web_bind=settings.listen_host,
        web_host="127.0.0.1",
        web_port=settings.worker_port,
    )
    publisher = Publisher(partial(connect, settings.kafka))
    worker = Worker(app, settings.kafka, settings.rules(), publisher)
    _attach(app, worker, settings)
    return app


def _attach(app: RecordBatchApp, worker: Worker, settings: WorkerSettings) -> None:
    events = app.topic(topics.EVENTS, value_serializer=CODEC)

    @app.agent(events, name="meter")
    async def meter(stream: StreamT[Any]) -> None:
        await worker.run(cast("Stream[Any]", stream).noack().events())

    if settings.clock == "wall":
        app.timer(interval=float(settings.tick_interval_s))(partial(_write_ticks, app))

    @app.on_before_shutdown.connect
    async def finish(*_: object, **__: object) -> None:
        await worker.finish()

    app.on_worker_init.connect(_look_for_garbage_rarely)
    app.sensors.add(FaustSensor())
    app.task(partial(observe, app))

    @app.page("/metrics")
    async def show_metrics(view: View, _request: Request) -> Response:
        return view.bytes(generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _look_for_garbage_rarely(*_: object, **__: object) -> None:
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, 10, 10)


async def _write_ticks(app: RecordBatchApp) -> None:
    now_ms = int(time() * 1_000)
    for topic, partition in app.consumer.assignment():
        if topic == topics.EVENTS:
            try:
                await app.producer.send_and_wait(
                    topic, CLOCK_KEY.encode(), tick(partition, now_ms), partition, None, None
                )
            except KafkaError as error:
                logger.warning(
                    "no clock tick for partition %d: %r; the next makes up for it", partition, error
                )


app = create_app(WorkerSettings())
