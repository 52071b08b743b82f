"""Topics read between two offsets, a batch at a time, without a consumer group.

librdkafka reads committed records only and skips control records and aborted ones. A damaged batch is
reported with its offset, and skipped if the caller asks for that. Several partitions may be read at once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Place
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.protocol.consumer import IsolationLevel

from kafka_access.access import KafkaAccess
from kafka_access.librdkafka import librdkafka_options
from metering.content_modes import UNREADABLE_HEADERS
from metering.damage import damage
from metering.records import Record, RecordRange
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from sinks.admin_client import KafkaAdmin

POLL_S: Final = 0.5
POLL_RECORDS_MAX: Final = 20_000
FETCH_BYTES_MAX: Final = 4 * 2**20
HELD_KBYTES_MAX: Final = 16 * 1024
"""With the limits above, the bound on memory per partition, however large the topic is."""

SILENCE_S_MAX: Final = 30.0
"""Time for which a partition with more records may deliver none."""

REQUEST_TIMEOUT_S: Final = 15.0

TRANSIENT: Final = frozenset(
    getattr(KafkaError, name)
    for name in (
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_TIMED_OUT",
        "_RESOLVE",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
    )
)
"""Errors that librdkafka reports while it retries by itself."""

DAMAGED: Final = frozenset(
    getattr(KafkaError, name)
    for name in ("_BAD_MSG", "_BAD_COMPRESSION", "_NOT_IMPLEMENTED", "_UNDERFLOW", "INVALID_MSG")
)
"""Errors about bytes that are no valid batch: a wrong checksum or a malformed header."""


class OffsetSpan(NamedTuple):
    """The offsets that a partition holds: from `begin` to before `end`."""

    begin: int
    end: int


class DamagedTopicError(OperationError):
    """A topic is damaged; the message has the offset and what can be done."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(damage(topic, partition, offset))
        self.offset = offset


OnDamage = Callable[[int], None]
"""Called with the offset at which a damaged batch begins."""


class RecordSource(Protocol):
    """Topics on Kafka, or in a backup."""

    def spans(self, topic: str) -> dict[int, OffsetSpan]:
        """Return the span of each partition of a topic."""

    def batches(
        self, topic: str, partition: int, span: OffsetSpan, damaged: OnDamage | None = None
    ) -> Iterator[RecordRange]:
        """Read the records of a span, in order."""


class TopicReader:
    """A reader of the topics of one Kafka, made by `open_reader`. Blocking; for one thread."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self._consumers: set[Consumer] = set()

    def close(self) -> None:
        """Close every consumer."""
        while self._consumers:
            self._consumers.pop().close()

    def spans(self, topic: str) -> dict[int, OffsetSpan]:
        """The span of each partition of a topic, up to the last stable offset.

        Raises:
            OperationError: there is no such topic, or Kafka does not answer.
        """
        return offset_spans(self._kafka, topic)

    def spans_since(self, topic: str, time_ms: int) -> dict[int, OffsetSpan]:
        """The span of each partition, from the first record with a Kafka time of `time_ms` or later."""
        offset_spans = self.spans(topic)
        with self._consumer() as consumer:
            wanted = [Place(self._kafka.topic(topic), partition, time_ms) for partition in offset_spans]
            found = consumer.offsets_for_times(wanted, timeout=REQUEST_TIMEOUT_S)
        begins = {at.partition: at.offset for at in found if at.offset >= 0}
        return {
            partition: OffsetSpan(min(begins.get(partition, span.end), span.end), span.end)
            for partition, span in offset_spans.items()
        }

    def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at an offset; None if there is none, as for a control record."""
        span = OffsetSpan(offset, offset + 1)
        found = [one for batch in self.batches(topic, partition, span) for one in batch]
        return found[0] if found else None

    def batches(
        self, topic: str, partition: int, span: OffsetSpan, damaged: OnDamage | None = None
    ) -> Iterator[RecordRange]:
        """The records of a span, in order. Close an iterator that is not read to its end.

        `damaged` is called for each damaged batch, which is then skipped.

        Raises:
            DamagedError: the topic is damaged, and nobody is to be told.
            OperationError: Kafka does not deliver the records.
        """
        at = span.begin
        while at < span.end:
            where = Place(self._kafka.topic(topic), partition, at)
            for records in self._undamaged(where, span.end):
                at = records.end
                yield records
            if at < span.end:
                if damaged is None:
                    raise DamagedTopicError(topic, partition, at)
                damaged(at)
                begin, at = at, self._after_damage(where, OffsetSpan(at, span.end))
                yield RecordRange([], begin, at)

    def _undamaged(self, where: Place, end: int) -> Iterator[RecordRange]:
        """The records before `end`, or before the first damaged batch."""
        at, delivered_s = where.offset, time.monotonic()
        with self._consumer(where) as consumer:
            while at < end:
                fetched = self._fetch(consumer, where, at)
                if fetched.reached > at:
                    begin, at, delivered_s = at, min(fetched.reached, end), time.monotonic()
                    yield RecordRange([one for one in fetched.records if one.offset < at], begin, at)
                if fetched.damaged:
                    return
                if time.monotonic() - delivered_s > SILENCE_S_MAX:
                    raise OperationError(
                        f"Kafka at {self._kafka} has not delivered the records of {where.topic} partition "
                        f"{where.partition} from offset {at} on for {SILENCE_S_MAX:g} s; see its log, and "
                        f"try again."
                    )

    def _fetch(self, consumer: Consumer, where: Place, at: int) -> "_Fetched":
        """The next records, up to a damaged batch: after one, librdkafka continues at a wrong offset."""
        fetched = _Fetched([], at)
        for message in _delivered(consumer):
            error = message.error()
            if error is None:
                fetched.records.append(_record(message))
                fetched.reached = _offset(message) + 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name for it
                fetched.reached = max(fetched.reached, _offset(message))
            elif error.code() in DAMAGED:
                fetched.damaged = True
                break
            # The reader joins no group, and librdkafka looks for one all the same.
            elif error.code() not in TRANSIENT | {KafkaError.GROUP_AUTHORIZATION_FAILED}:
                raise OperationError(f"Kafka at {self._kafka} does not deliver {where.topic}: {error.str()}.")
        return fetched

    def _after_damage(self, where: Place, span: OffsetSpan) -> int:
        """The first offset after the damaged batch at the beginning of a span, or the span's end.

        A broker delivers the whole batch that contains an offset, so a search finds where this batch ends.
        """
        inside, step = span.begin, 1
        while (outside := span.begin + step) < span.end and self._is_damaged(where, outside):
            inside, step = outside, 2 * step
        outside = min(outside, span.end)
        while outside - inside > 1:
            middle = (inside + outside) // 2
            if self._is_damaged(where, middle):
                inside = middle
            else:
                outside = middle
        return outside

    def _is_damaged(self, where: Place, offset: int) -> bool:
        """Return whether the batch at an offset is damaged. Uses a new consumer: damage misleads one."""
        place = Place(where.topic, where.partition, offset)
        until_s = time.monotonic() + SILENCE_S_MAX
        with self._consumer(place) as consumer:
            while time.monotonic() < until_s:
                fetched = self._fetch(consumer, place, offset)
                if fetched.damaged or fetched.reached > offset:
                    return fetched.damaged and not fetched.records
        raise OperationError(f"Kafka at {self._kafka} does not show {where.topic} at offset {offset}.")

    @contextmanager
    def _consumer(self, where: Place | None = None) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                **librdkafka_options(self._kafka),
                "client.id": "phonemeter-reader",
                # A consumer needs one; it is never joined, and nothing is committed.
                "group.id": self._kafka.group("phonemeter-reader"),
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "check.crcs": True,
                "fetch.message.max.bytes": FETCH_BYTES_MAX,
                "queued.max.messages.kbytes": HELD_KBYTES_MAX,
                "log_level": 0,
                "error_cb": _ignore,
            }
        )
        self._consumers.add(consumer)
        try:
            if where is not None:
                consumer.assign([where])
            yield consumer
        finally:
            if consumer in self._consumers:
                self._consumers.remove(consumer)
                consumer.close()


class _Fetched:
    """The result of a fetch: records, the offset reached, and whether the log is damaged there."""

    def __init__(self, records: list[Record], reached: int) -> None:
        self.records = records
        self.reached = reached
        self.damaged = False


@contextmanager
def open_reader(kafka: KafkaAccess) -> Iterator[TopicReader]:
    """A reader on a Kafka, closed at the end.

    Raises:
        OperationError: Kafka does not answer, or stops answering.
    """
    reader = TopicReader(kafka)
    try:
        yield reader
    except KafkaException as error:
        raise OperationError(
            f"Kafka at {kafka} stopped answering ({error.args[0].str()}); try again."
        ) from error
    finally:
        reader.close()


def offset_spans(kafka: KafkaAccess, topic: str) -> dict[int, OffsetSpan]:
    """The span of each partition of a topic.

    Raises:
        OperationError: there is no such topic, or Kafka does not answer.
    """
    with admin(kafka) as client:
        return spans_of(client, topic)


def spans_of(client: KafkaAdmin, topic: str) -> dict[int, OffsetSpan]:
    """The span of each partition of a topic, by an admin client that is open.

    Raises:
        OperationError: there is no such topic.
    """
    described = client.describe_topics([topic])[0]
    if described["error_code"] != 0:
        raise OperationError(f"Kafka has no topic {topic}; phonemeter up creates it.")
    partitions = [TopicPartition(topic, one["partition_index"]) for one in described["partitions"]]
    begins = client.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = client.list_partition_offsets(
        dict.fromkeys(partitions, OffsetSpec.LATEST), isolation_level=IsolationLevel.READ_COMMITTED
    )
    return {at.partition: OffsetSpan(begins[at].offset, ends[at].offset) for at in sorted(partitions)}


def _delivered(consumer: Consumer) -> Sequence[Message]:
    """The next messages: wait for the first, then take all that have arrived."""
    first = consumer.poll(POLL_S)
    return [] if first is None else [first, *consumer.consume(POLL_RECORDS_MAX - 1, 0.0)]


def _record(message: Message) -> Record:
    _, recorded_at_ms = message.timestamp()
    read = partial(Record, _offset(message), recorded_at_ms, message.key(), message.value())
    try:
        # If one of several names is malformed, the client returns the others and leaves an exception pending,
        # which the next call raises: so that call has to be within the `try`.
        headers: Any = message.headers() or ()
        return read(tuple(headers))
    except (UnicodeDecodeError, SystemError):
        return read(UNREADABLE_HEADERS)


def _offset(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset


def _ignore(_error: KafkaError) -> None:
    """Ignore errors about no partition: they pass, or the reader reports that nothing is delivered."""
