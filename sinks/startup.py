"""The start of a service whose servers may not be up yet."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import Counter
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
)

from sinks.backoff import backoff
from sinks.health import Health

log = logging.getLogger(__name__)

T = TypeVar("T")


def wait_for_server(
    server: str,
    work: Callable[[], T],
    errors: type[Exception] | tuple[type[Exception], ...],
    stopping: threading.Event,
    health: Health,
    *,
    failures: Counter | None = None,
    describe: Callable[[BaseException], str] = str,
) -> T | None:
    """Repeat work after `errors` until the server is up that it needs; None if the service is to stop before.

    The server's name is for the log; `describe` puts an error in a sentence.
    """

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        sentence = describe(error or Exception())
        if failures is not None:
            failures.inc()
        health.set_waiting(f"{server}: {sentence}")
        log.warning("%s: %s; attempt %d failed, trying again.", server, sentence, state.attempt_number)

    try:
        return Retrying(
            retry=retry_if_exception_type(errors),
            wait=backoff(),
            stop=stop_when_event_set(stopping),
            sleep=sleep_using_event(stopping),
            before_sleep=report,
        )(work)
    except RetryError:
        return None
