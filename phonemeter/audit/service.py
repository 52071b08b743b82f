"""The audit as a service: periodic audits with their results as metrics, until a signal.

The summary of all apps is read more often, and is exported as metrics as well.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from phonemeter.audit.apps_summary import AppsSummary
from phonemeter.audit.metrics import AuditMetrics
from phonemeter.audit.report import AuditReport
from phonemeter.audit.sentences import scope, verdict
from phonemeter.errors import OperationError
from sinks.metrics_server import serve_metrics
from sinks.preconditions import Preconditions

log = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
RETRY_S: Final = 60.0
BALANCES_SHARE: Final = 10
"""Ratio of the pause to the duration of a reading of balances, which bounds the load on ClickHouse."""


def audit_periodically(
    carry_out: Callable[[], AuditReport],
    read_balances: Callable[[], AppsSummary],
    every_s: float,
    balances_every_s: float,
    *,
    preconditions: Preconditions,
    host: str,
    port: int,
) -> None:
    """Audit at once and then every `every_s` seconds, from start to start, until SIGTERM or SIGINT.

    The balances are read at once too, and then after a pause of `balances_every_s`, or longer if a reading
    takes long.

    An audit that fails, for example because services are just starting, is logged, counted and retried after
    a minute; a failed reading of the balances at the next interval. An audit only reads, so topics that are
    not configured as required are reported and do not stop it.

    Raises:
        SinkError: the port is taken.
    """
    metrics = AuditMetrics()
    metrics.set_interval(every_s)
    metrics.health.judge_by(preconditions, metrics.problems)
    metrics.health.set_waiting("the first audit is under way")
    balances_read = _balances_reader(read_balances, balances_every_s, metrics)
    pages = serve_metrics(
        metrics.registry,
        metrics.health.verdict,
        host,
        port,
        service="audit",
        setting="PHONEMETER_AUDIT_PORT",
    )
    with pages, preconditions.watched(), balances_read, _end_on_signals():
        while True:
            began_s = time.monotonic()
            pause_s = every_s if _audit_once(carry_out, metrics) else min(every_s, RETRY_S)
            time.sleep(max(0.0, began_s + pause_s - time.monotonic()))
    log.info("The audit has ended.")


def _audit_once(carry_out: Callable[[], AuditReport], metrics: AuditMetrics) -> bool:
    """Audit; return whether that succeeded."""
    try:
        report = carry_out()
    except OperationError as error:
        metrics.record_failure(str(error))
        log.warning("The audit failed: %s", error)
        return False
    metrics.record_audit(report)
    if report.settings_note:
        log.warning("%s", report.settings_note)
    if report.another_log:
        log.error("%s", report.another_log)
    log.log(logging.INFO if report.clean else logging.ERROR, "%s %s", verdict(report), scope(report))
    return True


@contextmanager
def _balances_reader(
    read: Callable[[], AppsSummary], every_s: float, metrics: AuditMetrics
) -> Iterator[None]:
    """Read the balances periodically in a thread, for the duration of the block."""
    ended = threading.Event()

    def work() -> None:
        pause_s = 0.0
        while not ended.wait(pause_s):
            began_s = time.monotonic()
            _read_once(read, metrics)
            pause_s = max(every_s, BALANCES_SHARE * (time.monotonic() - began_s))

    threading.Thread(target=work, name="phonemeter-balances", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _read_once(read: Callable[[], AppsSummary], metrics: AuditMetrics) -> None:
    try:
        metrics.record_summary(read())
    except OperationError as error:
        metrics.record_summary(None)
        log.warning("The balances could not be read: %s", error)


@contextmanager
def _end_on_signals() -> Iterator[None]:
    """End the block without error on a signal: an audit changes nothing and can be stopped anywhere."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in STOP_SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        log.info("Stopping ...")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
