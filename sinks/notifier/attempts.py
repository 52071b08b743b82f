"""Attempts to deliver, each in its own thread so that a receiver that hangs does not block the others."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from sinks.notifier.channels import Deliver, Message
from sinks.notifier.planning import AttemptOutcome, is_stale
from sinks.notifier.records import Delivery, DeliveryRequest
from sinks.notifier.routes import Routes

log = logging.getLogger(__name__)


class FinishedAttempt(NamedTuple):
    """An attempt with its outcome."""

    delivery: Delivery
    outcome: AttemptOutcome
    seconds: float


class Attempts:
    """The attempts of this notifier; they outlive the ownership of their partitions.

    Attributes:
        under_way: deliveries that are being attempted, by id, until the outcome is recorded.
        unrecorded: finished attempts whose outcome is not recorded yet.
    """

    def __init__(self, deliver: Deliver, now_ms: Callable[[], int]) -> None:
        self.under_way: dict[str, Delivery] = {}
        self.unrecorded: list[FinishedAttempt] = []
        self._deliver = deliver
        self._now_ms = now_ms
        self._finished: SimpleQueue[FinishedAttempt] = SimpleQueue()

    def start(self, delivery: Delivery, requests: Sequence[DeliveryRequest], routes: Routes | None) -> None:
        """Start an attempt in the background; `collect` fetches its outcome."""
        self.under_way[delivery.id] = delivery
        route = routes.by_name.get(delivery.route) if routes else None
        if routes is None or route is None or len(requests) != len(delivery.alerts):
            unknown = AttemptOutcome(delivered=False, reason="the route or the alert is not known any more")
            self._finished.put(FinishedAttempt(delivery, unknown, 0.0))
            return
        alerts = [request.alert for request in requests]
        apps = [routes.app(alert.appid) for alert in alerts]
        message = Message(delivery.id, alerts, apps, held=requests[0].held)

        def attempt() -> None:
            began_s = time.monotonic()
            now_ms = self._now_ms()
            try:
                if is_stale(delivery, now_ms):
                    outcome = AttemptOutcome(
                        delivered=False, reason="the notifier stood still; nothing was sent"
                    )
                else:
                    outcome = self._deliver(route, message, now_ms)
            except Exception as error:  # noqa: BLE001 - an attempt must end with an outcome, whatever a library raises
                # Without its message, which may repeat an address.
                log.warning("Delivering %s raised %s, a bug.", delivery.id, type(error).__name__)
                outcome = AttemptOutcome(
                    delivered=False, reason=f"phonemeter has a bug: {type(error).__name__}"
                )
            self._finished.put(FinishedAttempt(delivery, outcome, time.monotonic() - began_s))

        threading.Thread(target=attempt, name=f"phonemeter-{delivery.route}", daemon=True).start()

    def collect(self, wait_s: float = 0.0) -> None:
        """Move finished attempts to `unrecorded`, after waiting at most `wait_s` for the first one."""
        with suppress(Empty):
            if wait_s:
                self.unrecorded.append(self._finished.get(timeout=wait_s))
            while True:
                self.unrecorded.append(self._finished.get_nowait())

    def mark_recorded(self) -> None:
        """Drop all `unrecorded` attempts: their outcomes are in the log."""
        for finished in self.unrecorded:
            self.under_way.pop(finished.delivery.id, None)
        self.unrecorded.clear()
