"""The notifier as a service: reads the routes file, and delivers alerts until it is stopped."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.preconditions import NOTIFIER_TOPICS
from metering.times import SECOND_MS
from sinks.metrics_server import serve_metrics
from sinks.notifier.alert_routing import Ages
from sinks.notifier.channels import Deliver, deliverer
from sinks.notifier.current_routes import CurrentRoutes
from sinks.notifier.kafka_log import AlertsSource, DeliveriesPublisher
from sinks.notifier.metrics import Metrics
from sinks.notifier.notifier import Notifier, NotifierConfig
from sinks.notifier.planning import AttemptLimits
from sinks.notifier.recipients import CurrentRecipients, ReadRecipients, joined
from sinks.notifier.schedule import Policy
from sinks.notifier.settings import NotifierSettings
from sinks.preconditions import Preconditions, broker_view
from sinks.signals import stop_on_signals
from sinks.startup import wait_for_server

log = logging.getLogger(__name__)


def run(
    settings: NotifierSettings,
    stop: threading.Event | None = None,
    around: Callable[[Deliver], Deliver] = lambda deliver: deliver,
    publisher_of: Callable[[KafkaAccess], DeliveriesPublisher] = DeliveriesPublisher,
    read_recipients: ReadRecipients | None = None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Deliver alerts until SIGTERM or SIGINT; then record the outcomes of attempts under way.

    Args:
        settings: of the notifier.
        stop: ends the service from within the process when it is set; signals are not handled then.
        around: wraps the function that makes an attempt, for tests that end the process there.
        publisher_of: makes the publisher, for the same tests.
        read_recipients: reads the recipients of owners; without it only the file has receivers. Until it
            answers for the first time, the file's routes get their alerts, and owners' are held.
        now_ms: the clock, for tests of quiet hours.

    Raises:
        SinkError: the routes file can't be used, a topic is not configured as required, or the metrics'
            port is taken.
    """
    stopping = stop or threading.Event()
    metrics = Metrics()
    routes = CurrentRoutes(settings.alert_routes, metrics)
    recipients = CurrentRecipients(read_recipients, metrics) if read_recipients is not None else None
    if settings.alert_routes is None and read_recipients is None:
        log.info("No routes file is set (PHONEMETER_ALERT_ROUTES): alerts are read and not delivered.")
    limits = AttemptLimits(
        Policy(settings.notifier_retry_first_ms, settings.notifier_retry_for_s * SECOND_MS),
        settings.notifier_timeout_s * SECOND_MS,
    )
    with ExitStack() as closing:
        if stop is None:
            closing.enter_context(stop_on_signals(stopping, "recording what is under way"))
        closing.enter_context(
            serve_metrics(
                metrics.registry,
                metrics.health.verdict,
                settings.listen_host,
                settings.notifier_port,
                service="notifier",
                setting="PHONEMETER_NOTIFIER_PORT",
            )
        )
        preconditions = Preconditions(NOTIFIER_TOPICS, partial(broker_view, settings.kafka_access))
        metrics.health.judge_by(
            preconditions,
            lambda: metrics.problems(
                routes.refusal,
                recipients.refusal if recipients else "",
                recipients_known=recipients is None or recipients.newest is not None,
            ),
        )
        if recipients is not None:
            closing.enter_context(recipients.followed())
        source = wait_for_server(
            "Kafka",
            lambda: _source(settings.kafka_access, preconditions),
            KafkaError,
            stopping,
            metrics.health,
        )
        if source is None:
            return
        closing.callback(source.close)
        publisher = wait_for_server(
            "Kafka", lambda: publisher_of(settings.kafka_access), KafkaError, stopping, metrics.health
        )
        if publisher is None:
            return
        closing.callback(publisher.close)
        closing.enter_context(preconditions.watched())
        in_effect = joined(routes, recipients)
        log.info(
            "The notifier is ready with %d routes; metrics on http://%s:%d/metrics.",
            len(found.by_name) if (found := in_effect()) else 0,
            settings.listen_host,
            settings.notifier_port,
        )
        Notifier(
            source,
            publisher,
            NotifierConfig(
                in_effect,
                limits,
                Ages(settings.notifier_alert_age_max_s * SECOND_MS, settings.notifier_past_max_s * SECOND_MS),
                around(deliverer(settings.notifier_timeout_s)),
            ),
            metrics,
            stopping,
            now_ms,
        ).run()
    log.info("The notifier has ended.")


def _source(kafka: KafkaAccess, preconditions: Preconditions) -> AlertsSource:
    preconditions.require()
    return AlertsSource(kafka)
