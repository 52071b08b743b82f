"""Publishing what batches did, with librdkafka: it compresses and sends while the next batch is metered.

Metering a batch holds the event loop for up to a third of a second. A client that lives on the loop would
send one piece of the batch before in each of its breaks; librdkafka has threads that need no interpreter.

Nothing is overtaken: per broker one request is on its way at a time, and what is not confirmed is sent again,
in its place, for ever. What Kafka refuses for good ends the publisher, so that nothing comes after the hole.
So at any moment, what has arrived in a partition is what was published to it, up to some record.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.batch_step import Outgoing

logger = logging.getLogger(__name__)

SERVE_S: Final = 0.002
"""How often to ask what was confirmed, as long as something is not. To be told, in a thread, would take the
interpreter from the loop for each record."""

BATCH_BYTES_MAX: Final = 900_000
"""What goes to a partition at once, before it is compressed; a broker takes 1 MB unless told otherwise."""

RECORD_BYTES_MAX: Final = 2 * 1024 * 1024
"""A dead letter carries a record of up to 1 MB in base64."""

REQUEST_TIMEOUT_MS: Final = 10_000
RECONNECT_MS_MAX: Final = 2_000

_FOR_EVER: Final = 0
_NO_LIMIT: Final = 0
_MOST: Final = 2_147_483_647

OnDelivery = Callable[[KafkaError | None, Message], None]


class RefusedError(Exception):
    """Kafka does not take what was published, now or later."""


class GivenUpError(Exception):
    """What was published was given up before all of it was confirmed."""


class Client(Protocol):
    """What is used of `confluent_kafka.Producer`."""

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, *, on_delivery: OnDelivery
    ) -> None:
        """Take a record, and tell from `poll` what became of it."""

    def poll(self, timeout: float) -> int:
        """Tell what became of records, and how many were told of."""

    def purge(self) -> None:
        """Send nothing more of what was taken."""


class Publisher:
    """Publishes records, in order per partition. It belongs to one event loop.

    Args:
        connect: makes a client; called when one is needed first, and again after `give_up`.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._open: set[_Publication] = set()
        self._serving: asyncio.TimerHandle | None = None
        self._refused: RefusedError | None = None

    def publish(self, records: Sequence[Outgoing]) -> asyncio.Future[None]:
        """Send records; what is returned is done once the broker has all of them.

        It fails with `RefusedError` or `GivenUpError`. To stop waiting for it stops no record.

        Raises:
            RefusedError: a record is refused at once, or one was refused before.
        """
        if self._refused is not None:
            raise self._refused
        self._client = client = self._client or self._connect()
        publication = _Publication(len(records), self._settled)
        self._open.add(publication)
        if self._serving is None:
            self._serve_soon()
        told = publication.told
        for record in records:
            try:
                client.produce(record.topic, record.value, record.key, record.partition, on_delivery=told)
            except KafkaException as error:
                raise publication.refused(record.topic, error.args[0]) from None
        publication.look()
        return publication.outcome

    def give_up(self) -> None:
        """Send nothing more of what is open: it is somebody else's to publish now.

        What is on its way may still arrive, but nothing behind it that was published here before.
        """
        if self._client is not None:
            self._client.purge()
            self._client = None
        self._end(GivenUpError("what was published was given up"))

    def _settled(self, publication: "_Publication", failure: Exception | None) -> None:
        self._open.discard(publication)
        if isinstance(failure, RefusedError):
            self._refused = self._refused or failure

    def _serve_soon(self) -> None:
        self._serving = asyncio.get_running_loop().call_later(SERVE_S, self._serve)

    def _serve(self) -> None:
        self._serving = None
        if self._client is not None:
            try:
                self._client.poll(0)
            except KafkaException as error:
                self._end(RefusedError(f"Kafka does not take what was published: {_words(error.args[0])}"))
        if self._open:
            self._serve_soon()

    def _end(self, failure: Exception) -> None:
        for publication in tuple(self._open):
            publication.settle(failure)


class _Publication:
    """Records that are confirmed together."""

    def __init__(self, records: int, on_settled: Callable[["_Publication", Exception | None], None]) -> None:
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unconfirmed = records
        self._on_settled = on_settled

    def told(self, error: KafkaError | None, message: Message) -> None:
        """Take note of what became of one record."""
        self._unconfirmed -= 1
        if error is not None:
            self.refused(message.topic() or "", error)
        self.look()

    def look(self) -> None:
        """Settle it if nothing is left to be confirmed."""
        if self._unconfirmed == 0:
            self.settle(None)

    def refused(self, topic: str, error: KafkaError) -> RefusedError:
        """Settle it, because Kafka does not take a record."""
        failure = RefusedError(f"Kafka does not take a record of {topic}: {_words(error)}")
        self.settle(failure)
        return failure

    def settle(self, failure: Exception | None) -> None:
        """Tell who waits; nobody has to, and what is settled stays so."""
        self._on_settled(self, failure)
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(None)
        else:
            self.outcome.set_exception(failure)
            # That whoever waited is gone is no mistake.
            self.outcome.exception()


def connect(kafka: str) -> Client:
    """A client that overtakes nothing and does not give up.

    Args:
        kafka: the brokers, as `host:port` with commas between.
    """
    return Producer(
        {
            "bootstrap.servers": kafka,
            "client.id": "phonemeter-worker",
            "acks": "all",
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            # With more, what follows a refused request could be stored where a broker knows nothing of
            # this producer yet, and cannot tell that a number is missing.
            "max.in.flight.requests.per.connection": 1,
            "message.timeout.ms": _FOR_EVER,
            "allow.auto.create.topics": False,
            "compression.type": "zstd",
            "linger.ms": 0,
            "batch.size": BATCH_BYTES_MAX,
            "message.max.bytes": RECORD_BYTES_MAX,
            "request.timeout.ms": REQUEST_TIMEOUT_MS,
            "socket.timeout.ms": REQUEST_TIMEOUT_MS,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": RECONNECT_MS_MAX,
            # What waits is bounded by how many batches are in work.
            "queue.buffering.max.messages": _NO_LIMIT,
            "queue.buffering.max.kbytes": _MOST,
            "error_cb": _tell,
            # What goes wrong is told by `_tell`, but for what ends a client.
            "log_level": 0,
        },
        logger=logger,
    )


def _words(error: KafkaError) -> str:
    return " ".join(error.str().split()).rstrip(".") + "."


def _tell(error: KafkaError) -> None:
    logger.warning("Kafka: %s", _words(error))
