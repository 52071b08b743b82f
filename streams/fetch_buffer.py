"""The buffer of what aiokafka fetched, from which records of the events topic come in batches.

aiokafka buffers a broker's response and unpacks it record by record. Here a poll takes one batch from it,
with the offset that was asked for and the one to ask for next. Offsets in between without a record for us
(control records, aborted records) belong to the batch, so a batch may have no records at all. Written against
aiokafka 0.14, which is pinned for that reason.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final
from weakref import ref

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from metering import topics
from metering.damage import damage
from metering.records import Record, RecordRange
from streams.lenient_records import LenientRecords, RawRecords, lenient_headers

POLL_RECORDS_MAX: Final = 40_000
POLL_BYTES_MAX: Final = 16 * 1024 * 1024
"""The limits of one poll, of all partitions together: records, and bytes of their values."""

_CHUNK: Final = 32
"""Records that are unpacked before their bytes are counted."""


class EventsDamagedError(Exception):
    """The events topic is damaged at the next offset; the message is in sentences."""


class RecordBatch(RecordRange):
    """The records of one partition from one poll, by offset, and the number of bytes of their values."""

    def __init__(self, records: Iterable[Record], begin: int, end: int, size: int = 0) -> None:
        super().__init__(records, begin, end)
        self.bytes = size


class FetchBuffer(OrderedDict[TopicPartition, Any]):
    """aiokafka's buffer of fetched responses; those of the events topic give record batches."""

    def __init__(self, events_topic: str = topics.EVENTS) -> None:
        super().__init__()
        self._events_topic = events_topic
        self._records_left = self._bytes_left = 0
        self._to_read_leniently = set[TopicPartition]()

    def begin_poll(self) -> None:
        """Reset the limits for another poll."""
        self._records_left, self._bytes_left = POLL_RECORDS_MAX, POLL_BYTES_MAX

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:  # noqa: ANN401 - or an error
        if tp.topic == self._events_topic and isinstance(fetched, FetchResult):
            records = fetched._partition_records  # noqa: SLF001 - no public way, and pinned
            records._consumer_record = _unpack  # noqa: SLF001 - as above
            if tp in self._to_read_leniently:
                self._to_read_leniently.remove(tp)
                records._records = LenientRecords(records._records.raw)  # noqa: SLF001 - as above
                records._consumer_record = _unpack_leniently  # noqa: SLF001 - as above
            # aiokafka compares the exact type, so this can't be a subclass.
            fetched.getall = _GetAll(self, fetched)
        super().__setitem__(tp, fetched)

    def take(self, fetched: FetchResult) -> list[RecordBatch]:
        """The next records of a response, within the limits of the poll.

        Raises:
            EventsDamagedError: the first of them can't be read.
        """
        tp = fetched._topic_partition  # noqa: SLF001 - as above
        if not fetched.check_assignment(tp) or self._records_left <= 0 or self._bytes_left <= 0:
            return []
        unpacking = fetched._partition_records  # noqa: SLF001 - as above
        begin, records, size, more = unpacking.next_fetch_offset, list[Record](), 0, True
        try:
            while more and len(records) < self._records_left and size < self._bytes_left:
                before = len(records)
                records.extend(islice(unpacking, _CHUNK))
                size += _bytes_of(records[before:])
                more = len(records) - before == _CHUNK
        except UnicodeDecodeError:
            # The records before it are whole. The rest is fetched again and then read leniently.
            self._to_read_leniently.add(tp)
            more, size = False, _bytes_of(records)
        except Exception as error:
            if not records:
                if isinstance(error, CorruptRecordException):
                    raise EventsDamagedError(damage(tp.topic, tp.partition, begin)) from None
                raise
            # As above; then it raises again, for its first record.
            more, size = False, _bytes_of(records)
        end = unpacking.next_fetch_offset
        fetched._update_position()  # noqa: SLF001 - as above
        if not more:
            fetched._partition_records = None  # noqa: SLF001 - as above
        self._records_left -= len(records)
        self._bytes_left -= size
        return [RecordBatch(records, begin, end, size)] if end > begin else []


class _GetAll:
    """The replacement of a response's `getall`; it does not keep the response alive."""

    def __init__(self, buffer: FetchBuffer, fetched: FetchResult) -> None:
        self._buffer, self._fetched = buffer, ref(fetched)

    def __call__(self, max_records: int | None = None) -> list[RecordBatch]:
        del max_records
        fetched = self._fetched()
        return [] if fetched is None else self._buffer.take(fetched)


def keep_raw_records() -> None:
    """Have aiokafka keep the bytes of a response beside its records, so that they can be read again."""
    fetcher.MemoryRecords = RawRecords


def _bytes_of(records: Iterable[Record]) -> int:
    return sum([len(record.value) for record in records if record.value])


def _unpack(_tp: object, record: Any) -> Record:  # noqa: ANN401 - any of aiokafka's kinds of record
    return Record(record.offset, record.timestamp, record.key, record.value, record.headers or ())


def _unpack_leniently(_tp: object, record: Any) -> Record:  # noqa: ANN401 - as above
    return Record(record.offset, record.timestamp, record.key, record.value, lenient_headers(record))
