"""The settler as a service: settles apps until it is stopped."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.preconditions import SETTLER_TOPICS
from metering.rules import Rules
from sinks.metrics_server import serve_metrics
from sinks.preconditions import Preconditions, broker_view
from sinks.settler.following import Follower
from sinks.settler.ledger import SettlerLedger
from sinks.settler.metrics import Metrics
from sinks.settler.publisher import SettlementsPublisher
from sinks.settler.settings import SettlerSettings
from sinks.settler.settler import Settler
from sinks.settler.work import AppWork, StoppedError
from sinks.signals import stop_on_signals
from sinks.startup import wait_for_server

log = logging.getLogger(__name__)

MS_PER_S: Final = 1_000


def run(
    settings: SettlerSettings,
    rules_of_log: Callable[[], Rules],
    stop: threading.Event | None = None,
    publisher_of: Callable[[KafkaAccess], SettlementsPublisher] = SettlementsPublisher,
) -> None:
    """Settle apps until SIGTERM or SIGINT. What is under way then is worked out again by the next settler.

    Args:
        settings: of the settler.
        rules_of_log: returns the rules that the log is metered by; may raise KafkaError.
        stop: ends the service from within the process when it is set; signals are not handled then.
        publisher_of: makes the publisher, for tests that end the process there.

    Raises:
        SinkError: a topic is not configured as required, or the metrics' port is taken.
    """
    stopping = stop or threading.Event()
    # The driver logs a traceback of each failure that the settler logs in a sentence.
    logging.getLogger("clickhouse_driver.connection").setLevel(logging.CRITICAL)
    metrics = Metrics()
    with ExitStack() as closing:
        if stop is None:
            closing.enter_context(stop_on_signals(stopping, "ending"))
        closing.enter_context(
            serve_metrics(
                metrics.registry,
                metrics.health.verdict,
                settings.listen_host,
                settings.settler_port,
                service="settler",
                setting="PHONEMETER_SETTLER_PORT",
            )
        )
        preconditions = Preconditions(SETTLER_TOPICS, partial(broker_view, settings.kafka_access))
        metrics.health.judge_by(preconditions, metrics.problems)
        publisher = wait_for_server(
            "Kafka",
            lambda: _publisher(settings.kafka_access, preconditions, publisher_of),
            KafkaError,
            stopping,
            metrics.health,
        )
        if publisher is None:
            return
        closing.callback(publisher.close)
        closing.enter_context(preconditions.watched())
        ledger = SettlerLedger(settings.clickhouse)
        closing.callback(ledger.close)
        log.info(
            "The settler is ready; metrics on http://%s:%d/metrics.",
            settings.listen_host,
            settings.settler_port,
        )
        work = AppWork(
            ledger, rules_of_log, settings.settler_groups_max, progressed=partial(_go_on, metrics, stopping)
        )
        follower = Follower(ledger, publisher, settings.settler_follow_s, metrics.followed_calls.inc)
        pause_s = settings.settler_interval_ms / MS_PER_S
        Settler(ledger, publisher, work, metrics, stopping, pause_s, follow=follower.turn).run()
    log.info("The settler has ended.")


def _go_on(metrics: Metrics, stopping: threading.Event) -> None:
    """Note that an app makes progress, unless the settler is to end."""
    if stopping.is_set():
        raise StoppedError
    metrics.health.record_turn()


def _publisher(
    kafka: KafkaAccess,
    preconditions: Preconditions,
    publisher_of: Callable[[KafkaAccess], SettlementsPublisher],
) -> SettlementsPublisher:
    preconditions.require()
    return publisher_of(kafka)
