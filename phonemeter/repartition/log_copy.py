"""The copy of `phone-events` into topics with more partitions.

The place of each record follows from the old log alone (`metering.repartitioning`), so a copy that was broken
off reads the old log again, and appends what each new partition lacks.
"""

from collections.abc import Callable

from kafka_access.access import KafkaAccess
from metering.placement import PartitionIndex
from metering.repartitioning import PartitionSplit
from metering.topics import EVENTS, RESTORE_GROUP
from phonemeter.backup.log_writer import LogWriter, is_written
from phonemeter.errors import OperationError
from phonemeter.topic_reader import OffsetSpan, TopicReader

ShowCopied = Callable[[int], None]
"""Called with the number of records of the old log that are read."""


class LogCopy:
    """The copy of a log, read by `source`, into the topics of `kafka`, which has so many partitions."""

    def __init__(
        self, source: TopicReader, kafka: KafkaAccess, target: TopicReader, partitions: int, show: ShowCopied
    ) -> None:
        self._source = source
        self._kafka = kafka
        self._target = target
        self._partitions = partitions
        self._show = show
        self.read = 0
        self.appended = 0

    def copy(self, writer: LogWriter, source: PartitionIndex, end: int) -> PartitionSplit:
        """Copy a partition of the old log up to an offset; returns how it is split.

        Raises:
            OperationError: the new log has other records, or Kafka does not do its part.
        """
        split = PartitionSplit(source, self._partitions)
        ends = {target: writer.end_of(EVENTS, target) for target in split.targets}
        newest = {
            target: self._target.record_at(EVENTS, target, there - 1)
            for target, there in ends.items()
            if there
        }
        for batch in self._source.batches(EVENTS, source.partition, OffsetSpan(0, end)):
            for target, record in split.split(batch):
                there = ends[target]
                if record.offset >= there:
                    writer.append(EVENTS, target, record)
                    self.appended += 1
                elif record.offset == there - 1 and not is_written(record, newest[target]):
                    raise self._others_record(target, record.offset)
            writer.serve(EVENTS)
            self.read += len(batch)
            self._show(self.read)
        for target, there in ends.items():
            if there > split.end(target):
                raise self._others_record(target, split.end(target))
        writer.confirm(EVENTS, {target: split.end(target) for target in split.targets})
        return split

    def _others_record(self, partition: int, offset: int) -> OperationError:
        return OperationError(
            f"{self._kafka.topic(EVENTS)} partition {partition} has another record at offset {offset} than "
            f"the copy: somebody writes to it. Stop whoever does, delete the topics with the prefix "
            f"{self._kafka.prefix!r} and the consumer group {self._kafka.group(RESTORE_GROUP)}, and begin "
            f"again."
        )
