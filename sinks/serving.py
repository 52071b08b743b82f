"""What the services of this stage share: being patient with servers, being told to stop, serving metrics."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from prometheus_client import CollectorRegistry, start_http_server
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
)
from tenacity.wait import wait_base

from sinks.errors import SinkError

log = logging.getLogger(__name__)

T = TypeVar("T")


def patiently(
    work: Callable[[], T],
    failures: type[Exception] | tuple[type[Exception], ...],
    wait: wait_base,
    stopping: threading.Event,
    tell: Callable[[RetryCallState], None],
) -> T | None:
    """Do what may have to wait for a server that is not up yet; None if told to stop before it was.

    Args:
        work: what to do.
        failures: which failures are tried again.
        wait: for how long to wait between two attempts.
        stopping: set where the service has to end.
        tell: called after each failed attempt that is followed by another.
    """
    try:
        return Retrying(
            retry=retry_if_exception_type(failures),
            wait=wait,
            stop=stop_when_event_set(stopping),
            sleep=sleep_using_event(stopping),
            before_sleep=tell,
        )(work)
    except RetryError:
        return None


@contextmanager
def stopped_by_signals(stopping: threading.Event, doing: str) -> Iterator[None]:
    """Have SIGTERM and SIGINT set `stopping`; `doing` says in the log what is still done then."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("%s: %s.", signal.Signals(number).name, doing)
        stopping.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def metrics_served(
    registry: CollectorRegistry, host: str, port: int, *, service: str, setting: str
) -> Iterator[None]:
    """Serve a service's metrics.

    Raises:
        SinkError: the port is taken; `setting` names where another is set.
    """
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise SinkError(
            f"port {port} for the {service}'s metrics cannot be opened ({error.strerror}): free it, or set "
            f"{setting}"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
