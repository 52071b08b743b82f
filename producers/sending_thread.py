"""The thread that delivers events: it connects, sends, tries again within their time, and gives up.

Publishing only puts an event into the queue, so nothing that Kafka or the network does holds it up.
"""

import logging
import random
import threading
import time
from typing import Final

from producers.errors import DeliveryError, ProducerError, UnavailableError
from producers.event_queue import EventQueue, QueueCounts, QueuedEvent
from producers.outcomes import Failures
from producers.process_life import forget, watch_end
from producers.transport import EventTransport

log = logging.getLogger(__name__)

TICK_S: Final = 0.2
"""Interval of looking for events whose time is over."""

PAUSE_S: Final = 0.1
PAUSE_S_MAX: Final = 2.0
"""First and longest pause before connecting again."""

CLOSE_S: Final = 10.0
"""Limit of the wait for the thread to disconnect."""

LOSS_LOG_S: Final = 30.0
"""Interval of telling of events that were given up."""


class SendingThread:
    """The queue of a producer and the thread that empties it, which starts with the first event.

    After a fork the child process makes another one: threads, connections and events stay with the parent.
    """

    def __init__(self, queue: EventQueue, transport: EventTransport) -> None:
        self._queue = queue
        self._transport = transport
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._connected = False
        self._trouble: DeliveryError | None = None
        self._attempts = 0
        self._losses = _Losses()
        self._ending = threading.Event()

    def publish(self, event: QueuedEvent, room_s: float) -> None:
        """Queue an event.

        Raises:
            QueueFullError: there is no room.
            ProducerError: it is closed.
        """
        self._queue.put(event, room_s)
        self._start()

    def connect(self) -> None:
        """Wait until it is connected, or could not connect.

        Raises:
            UnavailableError: it could not.
        """
        self._start()
        with self._changed:
            before = self._attempts
            self._changed.wait_for(
                lambda: self._connected or self._attempts > before or self._ending.is_set()
            )
            if not self._connected:
                raise self._trouble or ProducerError("The producer is closed.")

    def flush(self, timeout_s: float) -> tuple[bool, Failures]:
        """Wait until every event has its outcome; return whether it has, and the failures since last time."""
        return self._queue.wait(timeout_s), self._queue.take_failures()

    def close(self) -> int:
        """Take no more events, give up those that are left, disconnect; return how many were given up."""
        self._queue.close()
        self._ending.set()
        left = self._queue.open_events()
        for event in left:
            self._queue.settle(event, self._given_up())
        with self._changed:
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_S)
        forget(self)
        return len(left)

    def end_with_process(self, within_s: float) -> None:
        """Deliver what is queued within a time, log how much was not, and disconnect."""
        self._queue.wait(within_s)
        left = self.close()
        if left:
            log.error("The process ended before %d event(s) were delivered; they are given up.", left)

    def abandon(self) -> None:
        """Leave everything to the process that this one was forked from."""
        self._transport.abandon()

    @property
    def queue(self) -> EventQueue:
        """The events without an outcome."""
        return self._queue

    @property
    def counts(self) -> QueueCounts:
        """The events up to now."""
        return self._queue.counts

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._changed:
            if self._thread is None and not self._ending.is_set():
                thread = threading.Thread(target=self._run, name="phonemeter-producer", daemon=True)
                thread.start()
                self._thread = thread
                watch_end(self)

    def _run(self) -> None:
        pause_s = PAUSE_S
        while not self._ending.is_set():
            try:
                if not self._connected:
                    self._transport.connect()
                    self._note_connected()
                if self._step():
                    pause_s = PAUSE_S
            except UnavailableError as error:
                self._note_lost(error)
                self._give_up_overdue()
                spread_s = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - not all at the same moment
                self._ending.wait(max(spread_s, error.retry_after_s))
                pause_s = min(PAUSE_S_MAX, pause_s * 2)
            except Exception as error:
                # Whatever it is, later events must not wait for ever.
                log.exception("Sending events failed; it is tried again.")
                self._note_lost(UnavailableError(f"Sending failed ({type(error).__name__})."))
                self._ending.wait(PAUSE_S_MAX)
        self._transport.close()

    def _step(self) -> bool:
        """Send the next events; return whether there were some."""
        events = self._queue.take(self._transport.events_max, self._transport.bytes_max, TICK_S)
        if events:
            for event in events:
                if event.before_sending is not None:
                    event.before_sending()
                    event.before_sending = None
            try:
                self._transport.send(events, self._queue.settle, self._queue.put_back)
            except BaseException:
                self._transport.drop()
                self._queue.take_back()
                raise
            self._note_delivering()
        if self._give_up_overdue():
            # A connection that leaves an outcome open beyond its time has stopped working.
            self._transport.drop()
            self._queue.take_back()
            raise UnavailableError(f"{self._transport.address} leaves outcomes open beyond their time.")
        return bool(events)

    def _give_up_overdue(self) -> int:
        """Give up the events whose time is over; return how many of them had been handed over."""
        overdue = self._queue.overdue(self._transport.grace_s)
        handed_over = sum(event.handed_over for event in overdue)
        for event in overdue:
            self._queue.settle(event, self._given_up())
        self._losses.add(len(overdue), self._trouble)
        return handed_over

    def _given_up(self) -> UnavailableError:
        reason = f" ({self._trouble})" if self._trouble is not None else ""
        return UnavailableError(
            f"{self._transport.address} did not confirm the event in time{reason}. It may have been stored "
            f"all the same: publish the same event again, its id keeps it one call."
        )

    def _note_connected(self) -> None:
        with self._changed:
            self._connected = True
            self._attempts += 1
            self._changed.notify_all()

    def _note_delivering(self) -> None:
        # Only now: a gateway may answer and yet take nothing.
        if self._trouble is not None:
            log.info("Events are sent again; %d waited.", self.counts.waiting)
            self._trouble = None

    def _note_lost(self, error: UnavailableError) -> None:
        if str(error) != str(self._trouble or ""):
            log.warning("%s Events wait meanwhile; %d do.", error, self.counts.waiting)
        with self._changed:
            self._connected, self._trouble = False, error
            self._attempts += 1
            self._changed.notify_all()


class _Losses:
    """The log's lines about events that were given up, few of them however many events there are."""

    def __init__(self) -> None:
        self._count = 0
        self._told_s = -LOSS_LOG_S

    def add(self, count: int, trouble: DeliveryError | None) -> None:
        self._count += count
        now_s = time.monotonic()
        if self._count and now_s - self._told_s >= LOSS_LOG_S:
            log.error("%d event(s) were not delivered in time. %s", self._count, trouble or "")
            self._count, self._told_s = 0, now_s
