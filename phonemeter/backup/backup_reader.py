"""The records of a backup, read like topics."""

from collections.abc import Iterator
from pathlib import Path

from metering.records import Record, RecordRange
from phonemeter.backup.block_file import read_records
from phonemeter.backup.manifest import Manifest, PartitionPart
from phonemeter.topic_reader import OffsetSpan, OnDamage


class BackupReader:
    """Reads the topics of a backup as `TopicReader` reads those of Kafka."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self._root = root
        self._parts = {
            (topic, part.partition): part
            for topic, found in manifest.topics.items()
            for part in found.partitions
        }

    def spans(self, topic: str) -> dict[int, OffsetSpan]:
        """The span of each partition of a topic."""
        return {
            partition: OffsetSpan(part.begin, part.end)
            for (name, partition), part in sorted(self._parts.items())
            if name == topic
        }

    def batches(
        self,
        topic: str,
        partition: int,
        span: OffsetSpan,
        damaged: OnDamage | None = None,
    ) -> Iterator[RecordRange]:
        """The records of a span, in order, each range up to the next record or the end of a file.

        Raises:
            OperationError: a file is damaged.
        """
        del damaged
        at = span.begin
        for file in self._parts[topic, partition].files:
            if file.end <= at or at >= span.end:
                continue
            for block in read_records(self._root, file):
                records = [one for one in block if at <= one.offset < span.end]
                if records:
                    yield RecordRange(records, at, records[-1].offset + 1)
                    at = records[-1].offset + 1
            reached = min(file.end, span.end)
            if reached > at:
                yield RecordRange([], at, reached)
                at = reached

    def last_before(self, topic: str, partition: int, offset: int) -> Record | None:
        """The last record before an offset."""
        part: PartitionPart = self._parts[topic, partition]
        for file in reversed(part.files):
            if file.begin >= offset or not file.records:
                continue
            last = None
            for block in read_records(self._root, file):
                last = next((one for one in reversed(block) if one.offset < offset), last)
            if last is not None:
                return last
        return None
