"""The publisher of what batches did. It uses librdkafka, which sends while the next batch is metered.

Metering a batch blocks the event loop for up to a third of a second. A client on the loop could send only a
piece of the last batch between two; librdkafka has threads of its own, without the interpreter.

Records never overtake each other: one request per broker is in flight, and unconfirmed records are sent again
in their place, without a limit. A record that Kafka refuses for good ends the publisher, so that none follows
the gap. So a partition always contains what was published to it, up to some record.

librdkafka gets a limited number of bytes at a time; the rest waits here. Its threads wait by the wall clock:
when that steps back, they wait longer. So if nothing is confirmed for long, by a monotonic clock, all open
publications are given up and a new client is created; their batches are metered again from the stored state.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kafka_access.access import KafkaAccess
from kafka_access.librdkafka import librdkafka_options
from metering.topics import PUBLISHED_BYTES_MAX
from streams import metrics
from streams.admin_client import error_text
from streams.batch_step import OutputRecord

logger = logging.getLogger(__name__)

POLL_S: Final = 0.002
"""The pause between polls for confirmations. Callbacks in a thread would block the loop for each record."""

BATCH_BYTES_MAX: Final = 900_000
"""The bytes of one request to a partition, uncompressed; a broker accepts 1 MB by default."""

QUEUE_BYTES_MAX: Final = 32 * 1024 * 1024
"""The bytes that librdkafka copies and buffers at a time."""

STALLED_S: Final = 30.0
"""The time without any confirmation after which everything is given up. If the broker was down, the worker
restores its states once it is back, which does no harm."""

POLL_GAP_S_MAX: Final = 1.0
"""The most that one pause between polls counts: in a longer one this process itself was suspended."""

REQUEST_TIMEOUT_MS: Final = 10_000
RECONNECT_MS_MAX: Final = 2_000

_NO_TIMEOUT: Final = 0
_NO_LIMIT: Final = 0
_INT_MAX: Final = 2_147_483_647

OnDelivery = Callable[[KafkaError | None, Message], None]


class PublishRefusedError(Exception):
    """Kafka refuses what was published, for good."""


class GivenUpError(Exception):
    """A publication was given up before all of it was confirmed."""


class Client(Protocol):
    """The part of `confluent_kafka.Producer` that is used here."""

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, *, on_delivery: OnDelivery
    ) -> None:
        """Take a record; `poll` calls `on_delivery` with its outcome."""

    def poll(self, timeout: float) -> int:
        """Call `on_delivery` for outcomes; returns the number of calls."""

    def purge(self, *, blocking: bool = True) -> None:
        """Drop the records that were taken; wait until the threads have done so, or not."""


class Publisher:
    """Publishes records, in order per partition. It belongs to one event loop.

    `connect` is called before the first publication, and after the last client was dropped; `prefix` is that
    of the topics' names.
    """

    def __init__(self, connect: Callable[[], Client], prefix: str = "") -> None:
        self._connect = connect
        self._prefix = prefix
        self._client: Client | None = None
        self._open: set[_Publication] = set()
        self._waiting: deque[tuple[OutputRecord, _Publication]] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._polled_s = self._stalled_s = 0.0
        self._refused: PublishRefusedError | None = None

    def publish(self, records: Sequence[OutputRecord]) -> asyncio.Future[None]:
        """Send records; the future is done once the broker has all of them.

        It fails with `PublishRefusedError` or `GivenUpError`. Its cancellation does not stop the records.

        Raises:
            PublishRefusedError: a record is refused at once, or one was refused before.
        """
        publication = _Publication(len(records), self._on_settled)
        if not self._open:
            self._stalled_s = 0.0
        self._open.add(publication)
        self._waiting.extend((record, publication) for record in records)
        self._feed()
        if self._refused is not None:
            publication.settle(self._refused)
            raise self._refused
        if self._timer is None:
            self._schedule_poll()
        publication.settle_if_confirmed()
        return publication.outcome

    def give_up(self) -> None:
        """Drop all open publications: another worker owns the partitions now.

        Records in flight may still arrive, but none that was published after them.
        """
        if self._client is not None:
            self._client.purge()
        self._drop_client("what was published was given up")

    def _feed(self) -> None:
        """Give the client as many records as it has room for."""
        self._client = client = self._client or self._connect()
        while self._waiting and self._bytes < QUEUE_BYTES_MAX and self._refused is None:
            record, publication = self._waiting.popleft()
            size = len(record.value or b"") + len(record.key or b"")
            on_delivery = partial(self._on_delivery, publication, size)
            topic = f"{self._prefix}{record.topic}"
            try:
                client.produce(topic, record.value, record.key, record.partition, on_delivery=on_delivery)
            except KafkaException as error:
                self._fail_open(publication.refuse(topic, error.args[0]))
            else:
                self._bytes += size

    def _on_delivery(
        self, publication: "_Publication", size: int, error: KafkaError | None, message: Message
    ) -> None:
        self._bytes -= size
        self._stalled_s = 0.0
        publication.on_delivery(error, message)

    def _on_settled(self, publication: "_Publication", failure: Exception | None) -> None:
        self._open.discard(publication)
        if isinstance(failure, PublishRefusedError):
            self._refused = self._refused or failure

    def _schedule_poll(self) -> None:
        loop = asyncio.get_running_loop()
        self._polled_s = loop.time()
        self._timer = loop.call_later(POLL_S, self._poll)

    def _poll(self) -> None:
        self._timer = None
        self._stalled_s += min(asyncio.get_running_loop().time() - self._polled_s, POLL_GAP_S_MAX)
        if self._client is not None:
            try:
                self._client.poll(0)
                self._feed()
            except KafkaException as error:
                self._fail_open(
                    PublishRefusedError(
                        f"Kafka does not take what was published: {error_text(error.args[0])}."
                    )
                )
        if self._refused is not None and self._waiting:
            self._waiting.clear()
            self._fail_open(self._refused)
        if self._open and self._stalled_s > STALLED_S:
            self._renew()
        if self._open:
            self._schedule_poll()

    def _renew(self) -> None:
        """Give up all open publications; the next one gets a new client."""
        logger.warning(
            "Kafka has confirmed nothing for %.0f s: what is open is given up, metered again and published "
            "by another client",
            self._stalled_s,
        )
        metrics.PUBLISHER_RENEWALS.inc()
        if self._client is not None:
            self._client.purge(blocking=False)
            last = [self._client]
            self._client = None
            # The deallocation of a client waits for its threads, which may be stalled.
            Thread(target=last.clear, daemon=True).start()
        self._drop_client("Kafka confirmed nothing for too long")

    def _drop_client(self, reason: str) -> None:
        self._client = None
        self._waiting.clear()
        self._bytes = 0
        self._stalled_s = 0.0
        self._fail_open(GivenUpError(reason))

    def _fail_open(self, failure: Exception) -> None:
        for publication in tuple(self._open):
            publication.settle(failure)


class _Publication:
    """Records that are confirmed together."""

    def __init__(self, records: int, on_settled: Callable[["_Publication", Exception | None], None]) -> None:
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unconfirmed = records
        self._on_settled = on_settled

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        """Count the outcome of one record."""
        self._unconfirmed -= 1
        if error is not None:
            self.refuse(message.topic() or "", error)
        self.settle_if_confirmed()

    def settle_if_confirmed(self) -> None:
        """Settle it if all its records are confirmed."""
        if self._unconfirmed == 0:
            self.settle(None)

    def refuse(self, topic: str, error: KafkaError) -> PublishRefusedError:
        """Settle it as refused, because Kafka refuses a record."""
        failure = PublishRefusedError(f"Kafka does not take a record of {topic}: {error_text(error)}.")
        self.settle(failure)
        return failure

    def settle(self, failure: Exception | None) -> None:
        """Set the outcome, once; its future may be cancelled."""
        self._on_settled(self, failure)
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(None)
        else:
            self.outcome.set_exception(failure)
            # Marks the exception as retrieved: nobody may wait for it any more.
            self.outcome.exception()


def connect(kafka: KafkaAccess) -> Client:
    """Create a client that keeps the order of records and never gives one up."""
    return Producer(
        {
            **librdkafka_options(kafka),
            "client.id": "phonemeter-worker",
            "acks": "all",
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            # With more, the request after a refused one could be stored by a broker that does not know this
            # producer yet, and does not notice the missing sequence number.
            "max.in.flight.requests.per.connection": 1,
            "message.timeout.ms": _NO_TIMEOUT,
            "allow.auto.create.topics": False,
            "compression.type": "zstd",
            "linger.ms": 0,
            "batch.size": BATCH_BYTES_MAX,
            "message.max.bytes": PUBLISHED_BYTES_MAX,
            "request.timeout.ms": REQUEST_TIMEOUT_MS,
            "socket.timeout.ms": REQUEST_TIMEOUT_MS,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": RECONNECT_MS_MAX,
            # `QUEUE_BYTES_MAX` limits its buffer.
            "queue.buffering.max.messages": _NO_LIMIT,
            "queue.buffering.max.kbytes": _INT_MAX,
            "error_cb": _log_error,
            # `_log_error` logs all errors but fatal ones, which `poll` raises.
            "log_level": 0,
        },
        logger=logger,
    )


def _log_error(error: KafkaError) -> None:
    logger.warning("Kafka: %s.", error_text(error))
