"""The audit as a service: again and again, with its results as metrics, until it is told to stop.

Beside it the balances are read more often, and the apps nearest to trouble become metrics as well.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import start_http_server

from phonemeter.audit.fleet import Fleet
from phonemeter.audit.metrics import Metrics
from phonemeter.audit.report import Report
from phonemeter.audit.wording import scope, verdict
from phonemeter.errors import OperationError, UserError

log = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
BALANCES_SHARE: Final = 10
"""The pause after reading the balances is so many times as long as it took: a tenth of ClickHouse at most."""


def audit_again_and_again(
    carry_out: Callable[[], Report],
    read_balances: Callable[[], Fleet],
    every_s: float,
    balances_every_s: float,
    host: str,
    port: int,
) -> None:
    """Audit at once and then every so many seconds, counted from begin to begin, until SIGTERM or SIGINT.

    The balances are read at once as well, and then after a pause of `balances_every_s`, or a longer one where
    a reading takes long.

    An audit that cannot be carried out is told, counted, and tried again at its next turn; so is a reading of
    the balances.

    Raises:
        UserError: the port is taken.
    """
    metrics = Metrics()
    metrics.interval.set(every_s)
    balances_read = _balances_read(read_balances, balances_every_s, metrics)
    with _served(metrics, host, port), balances_read, _ended_by_signals():
        while True:
            began_s = time.monotonic()
            _audit_once(carry_out, metrics)
            time.sleep(max(0.0, began_s + every_s - time.monotonic()))
    log.info("The audit has ended.")


def _audit_once(carry_out: Callable[[], Report], metrics: Metrics) -> None:
    try:
        report = carry_out()
    except OperationError as error:
        metrics.failed()
        log.warning("No audit this time: %s", error)
        return
    metrics.audited(report)
    log.log(logging.INFO if report.clean else logging.ERROR, "%s %s", verdict(report), scope(report))


@contextmanager
def _balances_read(read: Callable[[], Fleet], every_s: float, metrics: Metrics) -> Iterator[None]:
    """Read the balances again and again in a thread of their own, for as long as the block lasts."""
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


def _read_once(read: Callable[[], Fleet], metrics: Metrics) -> None:
    try:
        metrics.balances(read())
    except OperationError as error:
        metrics.balances(None)
        log.warning("No balances this time: %s", error)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End the block, without error, on a signal: an audit changes nothing and can be broken off anywhere."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in STOP_SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        log.info("Stopping ...")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _served(metrics: Metrics, host: str, port: int) -> Iterator[None]:
    try:
        server, thread = start_http_server(port, addr=host, registry=metrics.registry)
    except OSError as error:
        raise UserError(
            f"port {port} for the audit's metrics cannot be opened ({error.strerror}): free it, or give "
            f"another with --port"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
