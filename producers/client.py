"""The producer of back ends: publishes events to `phone-events` without holding up who publishes.

Events that the stream would reject are not taken; events of one app keep their order; an event is delivered
once all in-sync replicas have it; what waits is bounded, and delivering it is tried for a bounded time.
"""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self

from metering.events import AnyEvent, ClockTicked
from metering.rejections import Rejection
from producers.client_settings import ClientSettings, client_settings
from producers.clock import wall_clock_ms
from producers.delivery import Delivery, OnSettled
from producers.disabled_transport import DisabledTransport
from producers.errors import DeliveryError, RefusedError, UnavailableError
from producers.event_check import check
from producers.event_queue import EventQueue, QueueCounts, QueuedEvent, QueueLimits
from producers.events import CloudEvent, to_json
from producers.gateway_transport import GatewayTransport
from producers.kafka_transport import KafkaTransport
from producers.openid_keeping import OpenidKeeper
from producers.process_life import watch_forks
from producers.sending_thread import SendingThread
from producers.settings import ProducerSettings
from producers.transport import EventTransport

SETTLED_WITHIN_S: Final = 2.0
"""Time after its last moment within which the sending thread gives an event up."""


class EventProducer:
    """A publisher of events that threads may share; one per process is enough.

    It connects in the background when it is first used. After a fork it begins anew in the child process, and
    what the parent published is sent by the parent. When the interpreter ends, what is queued is sent within
    five seconds; what was not is logged by its number. As a context manager it waits for all deliveries.

    Args:
        settings: default is those of the environment.
        now_ms: the clock against which the times of events are checked.
        patient: wait for room in the queue as long as deliveries may take, in a program where no user waits.

    Attributes:
        outcome_within_s: the longest time until the outcome of an event is known.
    """

    def __init__(
        self,
        settings: ProducerSettings | None = None,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        patient: bool = False,
    ) -> None:
        self._settings = client_settings(settings)
        self._now_ms = now_ms
        self._begin()
        self._room_s = self.outcome_within_s if patient else 0.0
        watch_forks(self)

    def connect(self) -> None:
        """Wait until it is connected, for programs that are of no use otherwise.

        Raises:
            UnavailableError: the first attempt failed; the sending thread goes on with it.
        """
        self._sending.connect()

    def publish(
        self, event: CloudEvent | bytes, on_settled: OnSettled | None = None, *, openid: str = ""
    ) -> Delivery:
        """Check one event and queue it for the sending thread. Nothing waits for the network.

        Args:
            event: a CloudEvent, as a dict or as its JSON bytes.
            on_settled: called with the outcome, which the returned `Delivery` has as well.
            openid: the user's, kept encrypted for disputes if `openid_store` is set; it is never sent.

        Raises:
            RefusedError: the event itself is wrong.
            QueueFullError: so many events wait already that there is no room for this one.
        """
        value = event if isinstance(event, bytes) else to_json(event)
        checked = self._checked(value)
        queued = QueuedEvent(
            (checked.subject, checked.id),
            value,
            Delivery(self.outcome_within_s),
            deadline_s=time.monotonic() + self._settings.producer_delivery_timeout_s,
            on_settled=on_settled,
            everywhere=isinstance(checked, ClockTicked),
            before_sending=partial(self._openids.keep, checked, openid) if openid else None,
        )
        self._hand_over(queued)
        return queued.delivery

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until the outcome of every event published so far is known.

        Raises:
            DeliveryError: some since the last flush were not delivered, not even when they were published
                again, or are still open after `timeout_s`.
        """
        limit_s = self.outcome_within_s if timeout_s is None else timeout_s
        settled, (failures, first) = self._sending.flush(limit_s)
        if not settled:
            raise UnavailableError(f"Not every event has its outcome within {limit_s:g} s.")
        if first is not None:
            raise DeliveryError(f"{failures} event(s) were not delivered, the first because: {first}")

    def close(self, timeout_s: float | None = None) -> None:
        """Wait for the events on their way, at most `timeout_s`, and disconnect; what is left is given up.

        Raises:
            DeliveryError: as `flush`.
        """
        try:
            self.flush(timeout_s)
        finally:
            self._sending.close()
            self._openids.close()

    def open_deliveries(self) -> list[Delivery]:
        """The deliveries without an outcome, the oldest first."""
        return [event.delivery for event in self._sending.queue.open_events()]

    @property
    def counts(self) -> QueueCounts:
        """The events since the producer was made, for metrics of your own."""
        return self._sending.counts

    def begin_in_child(self) -> None:
        """Leave what there is to the parent process; called after a fork."""
        self._sending.abandon()
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            with contextlib.suppress(DeliveryError):
                self.close()

    def _hand_over(self, event: QueuedEvent) -> None:
        self._sending.publish(event, self._room_s)

    def _begin(self) -> None:
        settings = self._settings
        limits = QueueLimits(settings.client_queue_events, settings.producer_buffer_bytes)
        transport = _transport(settings)
        self._openids = OpenidKeeper(settings)
        self._sending = SendingThread(EventQueue(limits), transport)
        tried_s = settings.producer_delivery_timeout_s + transport.grace_s
        self.outcome_within_s = tried_s + SETTLED_WITHIN_S

    def _checked(self, value: bytes) -> AnyEvent:
        event = check(value, now_ms=self._now_ms())
        if isinstance(event, Rejection):
            raise RefusedError(event)
        return event


def _transport(settings: ClientSettings) -> EventTransport:
    if settings.client_transport == "gateway":
        return GatewayTransport(settings)
    return DisabledTransport() if settings.client_transport == "disabled" else KafkaTransport(settings)
