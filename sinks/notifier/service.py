"""The notifier as a service: reads the file of routes, and delivers alerts until it is told to stop."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, TypeVar

from kafka.errors import KafkaError
from tenacity import RetryCallState
from tenacity.wait import wait_exponential_jitter

from metering.times import SECOND_MS
from sinks.notifier.channels import Deliver, deliverer
from sinks.notifier.kafka_log import Publisher, Source
from sinks.notifier.metrics import Metrics
from sinks.notifier.notifier import Notifier, Task
from sinks.notifier.planning import Limits
from sinks.notifier.reloading import CurrentRoutes
from sinks.notifier.schedule import Policy
from sinks.notifier.settings import NotifierSettings
from sinks.serving import metrics_served, patiently, stopped_by_signals

log = logging.getLogger(__name__)

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_S_MAX: Final = 5.0

T = TypeVar("T")


def run(
    settings: NotifierSettings,
    stop: threading.Event | None = None,
    around: Callable[[Deliver], Deliver] = lambda deliver: deliver,
    publisher_of: Callable[[str], Publisher] = Publisher,
) -> None:
    """Deliver alerts until SIGTERM or SIGINT; then record what became of the attempts under way.

    Args:
        settings: where everything is.
        stop: set to end the service from within the process; signals are then left alone.
        around: put around what makes an attempt, by tests that end the process there.
        publisher_of: makes the publisher, for the same.

    Raises:
        SinkError: the file of routes can't be used, or the metrics' port is taken.
    """
    stopping = stop or threading.Event()
    metrics = Metrics()
    routes = CurrentRoutes(settings.alert_routes, metrics)
    if settings.alert_routes is None:
        log.info("No file of routes is set (PHONEMETER_ALERT_ROUTES): alerts are read and not delivered.")
    limits = Limits(
        Policy(settings.notifier_retry_first_ms, settings.notifier_retry_for_s * SECOND_MS),
        settings.notifier_timeout_s * SECOND_MS,
    )
    with ExitStack() as closing:
        if stop is None:
            closing.enter_context(stopped_by_signals(stopping, "recording what is under way"))
        source = _patiently(stopping, lambda: Source(settings.kafka))
        if source is None:
            return
        closing.callback(source.close)
        publisher = _patiently(stopping, lambda: publisher_of(settings.kafka))
        if publisher is None:
            return
        closing.callback(publisher.close)
        closing.enter_context(
            metrics_served(
                metrics.registry,
                settings.listen_host,
                settings.notifier_port,
                service="notifier",
                setting="PHONEMETER_NOTIFIER_PORT",
            )
        )
        log.info(
            "The notifier is ready with %d routes; metrics on http://%s:%d/metrics.",
            len(found.routes) if (found := routes()) else 0,
            settings.listen_host,
            settings.notifier_port,
        )
        Notifier(
            source,
            publisher,
            Task(
                routes,
                limits,
                settings.notifier_alert_age_max_s * SECOND_MS,
                around(deliverer(settings.notifier_timeout_s)),
            ),
            metrics,
            stopping,
        ).run()
    log.info("The notifier has ended.")


def _patiently(stopping: threading.Event, work: Callable[[], T]) -> T | None:
    """Do what may have to wait for a Kafka that is not up yet; None if told to stop before it was."""

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("Kafka: %s; attempt %d failed, trying again.", error, state.attempt_number)

    wait = wait_exponential_jitter(multiplier=BACKOFF_FIRST_S, max=BACKOFF_S_MAX, jitter=BACKOFF_FIRST_S)
    return patiently(work, KafkaError, wait, stopping, tell)
